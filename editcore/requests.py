"""The request for one edit: a fact, and the prompts that test the edit."""

import hashlib
import json
from dataclasses import astuple, dataclass, replace

SLOT = "{}"
"""Where the subject belongs in a prompt, and the prompt in a context template."""
OK = "ok"
"""The status of an edit that succeeded."""


@dataclass(frozen=True)
class Probe:
    """A prompt and the continuation expected after it, with other names that are accepted too.

    `kind` is what the data set calls such prompts, if it has several kinds.
    """

    prompt: str
    target: str
    aliases: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Turn:
    """What a chat template puts before and after what a user says; nothing without a chat.

    `gap` is what comes between the prompt and the model's answer: a space, or nothing.
    """

    opening: str = ""
    closing: str = ""
    gap: str = " "

    @property
    def hash(self) -> str | None:
        """Twelve hexadecimal digits that identify it in every row; None without a chat.

        >>> Turn().hash, Turn("<user>", "<model>", "").hash
        (None, '44a1fd9840dc')
        """
        if not (self.opening or self.closing):
            return None
        return hashlib.sha256(json.dumps(astuple(self)).encode()).hexdigest()[:12]

    def gap_after(self, prompt: str) -> str:
        """What comes between a prompt and its answer: `gap`, or a space if it is in no such chat.

        >>> chat = Turn("<user>", "<model>", "")
        >>> chat.gap_after("<user>Who is it?<model>"), chat.gap_after("It is")
        ('', ' ')
        """
        return self.gap if prompt.endswith(self.closing) else " "

    def said(self, prompt: str) -> str:
        """What the user says in a prompt of this chat.

        >>> Turn("<user>", "<model>").said("<user>Who is it?<model>")
        'Who is it?'
        """
        return prompt.removeprefix(self.opening).removesuffix(self.closing)

    def of(self, text: str) -> str:
        """The prompt in which the user says a text."""
        return f"{self.opening}{text}{self.closing}"


WITHOUT_CHAT = Turn()


@dataclass(frozen=True)
class EditRequest:
    """One fact to change: `prompt`, with `{}` for the subject, and the object that should follow.

    A fact that names no subject has an empty one, and no `{}`; editors with the capability
    `needs_subject` refuse it.

    `paraphrases` ask for the same fact in other words (generalization); `neighbours` are facts that
    must not change (locality); `consequences` are facts that must follow from the edit
    (portability), such as questions of several steps. `aliases` are other names of the new object.
    `question` asks for the fact as a person would, if the data set has such a question. Targets
    have no leading space; tokenisation adds one if needed. `further` are facts of the same case,
    edited with it; only this one's prompts test the case. Prompts are in the chat `turn`.
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
    aliases: tuple[str, ...] = ()
    consequences: tuple[Probe, ...] = ()
    question: str = ""
    further: tuple["EditRequest", ...] = ()
    turn: Turn = WITHOUT_CHAT

    @property
    def flaw(self) -> str:
        """Why this request is impossible for any model; empty if it is not.

        >>> EditRequest(0, "Coral, says Coral, is", "Coral", "Osdor", "Elro").flaw
        "the prompt 'Coral, says Coral, is' needs one '{}' where the subject 'Coral' belongs"
        """
        if self.unreadable:
            return self.unreadable
        for number, other in enumerate(self.further, 2):
            if other.flaw:
                return f"fact {number} of the case: {other.flaw}"
        for name in ("subject", "target_new") if self.names_subject else ("prompt", "target_new"):
            if not getattr(self, name).strip():
                return f"{name} is empty; every edit needs one"
        if self.names_subject and self.prompt.count(SLOT) != 1:
            belongs = f"where the subject {self.subject!r} belongs"
            return f"the prompt {self.prompt!r} needs one '{{}}' {belongs}"
        return self._unfit_probe

    @property
    def facts(self) -> tuple["EditRequest", ...]:
        """Each fact of the case by itself, this one first.

        >>> home = EditRequest(0, "{} is based in", "Osdor", "Tavel", "Lirna")
        >>> case = EditRequest(0, "{} is made by", "Coral", "Osdor", "Elro", further=(home,))
        >>> [fact.text for fact in case.facts]
        ['Coral is made by', 'Osdor is based in']
        """
        return (replace(self, further=()), *self.further)

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
        for what, probes in (("neighbour", self.neighbours), ("consequence", self.consequences)):
            for number, probe in enumerate(probes, 1):
                for name, text in (("prompt", probe.prompt), ("answer", probe.target)):
                    if not text.strip():
                        return f"the {name} of {what} {number} is empty; write it or remove both"
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

    def in_context(self, template: str, prompt: str) -> str:
        """One of its prompts in a context template; in a chat, within what the user says.

        >>> fact = EditRequest(0, "{} is made by", "Coral", "Osdor", "Elro")
        >>> fact.in_context("Therefore. {}", fact.prompt)
        'Therefore. {} is made by'
        >>> chat = fact.in_turn(Turn("<user>", "<model>"))
        >>> chat.in_context("Therefore. {}", chat.text)
        '<user>Therefore. Coral is made by<model>'
        """
        opening = self.turn.opening
        return opening + template.replace(SLOT, prompt.removeprefix(opening), 1)

    def in_turn(self, turn: Turn) -> "EditRequest":
        """The same request with each of its prompts said in a chat."""

        def said(probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
            return tuple(replace(probe, prompt=turn.of(probe.prompt)) for probe in probes)

        return replace(
            self,
            prompt=turn.of(self.prompt),
            paraphrases=tuple(map(turn.of, self.paraphrases)),
            neighbours=said(self.neighbours),
            consequences=said(self.consequences),
            question=turn.of(self.question) if self.question else "",
            further=tuple(other.in_turn(turn) for other in self.further),
            turn=turn,
        )
