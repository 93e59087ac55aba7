"""What an editor is asked to do: one fact, and the prompts that test the edit."""

from dataclasses import dataclass

from editcore.errors import DataError

SLOT = "{}"


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
    tokenisation adds it. Raises `DataError` where the prompt does not hold exactly one `{}` or the
    subject or the target is empty.
    """

    case_id: int
    prompt: str
    subject: str
    target_new: str
    target_true: str
    relation: str = ""
    paraphrases: tuple[str, ...] = ()
    neighbours: tuple[Probe, ...] = ()

    def __post_init__(self) -> None:
        where = f"case {self.case_id}"
        if self.prompt.count(SLOT) != 1:
            raise DataError(
                f"{where}: the prompt {self.prompt!r} must hold '{{}}' once, for the subject"
            )
        for name in ("subject", "target_new"):
            if not getattr(self, name).strip():
                raise DataError(f"{where}: {name} is empty; every edit needs one")

    @property
    def text(self) -> str:
        """The prompt with the subject in its place.

        >>> EditRequest(0, "{} is made by", "Coral", "Osdor", "Elro").text
        'Coral is made by'
        """
        return self.prompt.replace(SLOT, self.subject)

    @property
    def subject_start(self) -> int:
        """Characters before the subject; 0 means that the subject opens the prompt."""
        return self.prompt.index(SLOT)
