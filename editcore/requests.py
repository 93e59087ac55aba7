"""The request for one edit: a fact, and the prompts that test the edit."""

from dataclasses import dataclass

SLOT = "{}"
"""Where the subject belongs in a prompt, and the prompt in a context template."""
OK = "ok"
"""The status of an edit that succeeded."""


@dataclass(frozen=True)
class Probe:
    """A prompt and the continuation expected of the unedited model."""

    prompt: str
    target: str


@dataclass(frozen=True)
class EditRequest:
    """One fact to change: `prompt`, with `{}` for the subject, and the object that should follow.

    A fact that names no subject has an empty one, and no `{}`; editors with the capability
    `needs_subject` refuse it.

    `paraphrases` ask for the same fact in other words (generalization); `neighbours` are facts that
    must not change (locality). Targets have no leading space; tokenisation adds one if needed.
    `flaw` is the reason why a request cannot be carried out, `unreadable` that of a record that
    could not even be read.
    """

    case_id: int
    prompt: str
    subject: str
    target_new: str
    target_true: str
    relation: str = ""
    paraphrases: tuple[str, ...] = ()
    neighbours: tuple[Probe, ...] = ()
    unreadable: str = ""

    @property
    def flaw(self) -> str:
        """Why this request is impossible for any model; empty if it is not.

        >>> EditRequest(0, "Coral, says Coral, is", "Coral", "Osdor", "Elro").flaw
        "the prompt 'Coral, says Coral, is' needs one '{}' where the subject 'Coral' belongs"
        """
        if self.unreadable:
            return self.unreadable
        for name in ("subject", "target_new") if self.names_subject else ("prompt", "target_new"):
            if not getattr(self, name).strip():
                return f"{name} is empty; every edit needs one"
        if self.names_subject and self.prompt.count(SLOT) != 1:
            belongs = f"where the subject {self.subject!r} belongs"
            return f"the prompt {self.prompt!r} needs one '{{}}' {belongs}"
        return self._unfit_probe

    @property
    def names_subject(self) -> bool:
        """Whether the fact has a subject, or a place for one.

        >>> EditRequest(0, "Who makes Coral?", "", "Osdor", "Elro").names_subject
        False
        """
        return bool(self.subject) or SLOT in self.prompt

    @property
    def _unfit_probe(self) -> str:
        """What is wrong with the test prompts, since no metric may skip one silently."""
        for number, paraphrase in enumerate(self.paraphrases, 1):
            if not paraphrase.strip():
                return f"paraphrase {number} is empty; write it or remove it"
        for number, probe in enumerate(self.neighbours, 1):
            for name, text in (("prompt", probe.prompt), ("answer", probe.target)):
                if not text.strip():
                    return f"the {name} of neighbour {number} is empty; write it or remove both"
        return ""

    @property
    def text(self) -> str:
        """The prompt with the subject in its place.

        >>> EditRequest(0, "{} is made by", "Coral", "Osdor", "Elro").text
        'Coral is made by'
        """
        return self.prompt.replace(SLOT, self.subject)

    @property
    def subject_start(self) -> int | None:
        """The number of characters before the subject; None if it is flawed or names none."""
        return self.prompt.index(SLOT) if self.names_subject and not self.flaw else None
