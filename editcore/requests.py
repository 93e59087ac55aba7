"""What an editor is asked to do: one fact, and the prompts that test the edit."""

from dataclasses import dataclass

SLOT = "{}"
"""Where the subject belongs in a prompt, and the prompt in a context template."""
OK = "ok"
"""The status of an edit that was made."""


@dataclass(frozen=True)
class Probe:
    """A prompt and the continuation that the unedited model should give to it."""

    prompt: str
    target: str


@dataclass(frozen=True)
class EditRequest:
    """One fact to change: `prompt` with `{}` for the subject, and the object to say from now on.

    `paraphrases` ask for the same fact in other words (generalization); `neighbours` are facts that
    must stay as they are (locality). Targets carry no leading space: where one is needed, the
    tokenisation adds it. One that cannot be carried out says so in `flaw`; that of a record which
    could not even be read is `unreadable`.
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
        """What makes this request impossible, whatever the model; empty if nothing does.

        >>> EditRequest(0, "Coral, says Coral, is", "Coral", "Osdor", "Elro").flaw
        "the prompt 'Coral, says Coral, is' needs one '{}' where the subject 'Coral' belongs"
        """
        if self.unreadable:
            return self.unreadable
        for name in ("subject", "target_new"):
            if not getattr(self, name).strip():
                return f"{name} is empty; every edit needs one"
        if self.prompt.count(SLOT) != 1:
            belongs = f"where the subject {self.subject!r} belongs"
            return f"the prompt {self.prompt!r} needs one '{{}}' {belongs}"
        return self._unfit_probe

    @property
    def _unfit_probe(self) -> str:
        """What is wrong with the prompts that test the edit: no metric skips one silently."""
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
        """Characters before the subject; 0 where it opens the prompt, None in a flawed request."""
        return None if self.flaw else self.prompt.index(SLOT)
