"""Requirements on every judge of answers, as tests that a plugin's test class inherits."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from editcore.evaluation.judges import ChosenJudge, Judged, choose
from editcore.registry.registry import load_registry

RIGHT = (
    Judged("Who makes Coral?", ("Osdor",), "Osdor"),
    Judged("Where is Harbor?", ("New Tavel", "Tavel"), "Tavel"),
    Judged("Which sea is it on?", ("the Sea of Elro",), "The Sea of Elro"),
)
WRONG = (
    Judged("Who makes Coral?", ("Osdor",), "Tavel"),
    Judged("Where is Harbor?", ("New Tavel", "Tavel"), "on a quiet shore"),
    Judged("Which sea is it on?", ("the Sea of Elro",), ""),
)


class JudgeConformance:
    """Inherit this in a class whose name begins with `Test`, and name the judge.

    `options` are those that it needs. `tolerance` is how much an answer's score may differ between
    an answer judged alone and the same answer judged among others.
    """

    judge: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    tolerance: ClassVar[float] = 1e-3

    @pytest.fixture
    def chosen(self) -> ChosenJudge:
        """The judge with its options."""
        return choose(self.judge, self.options, load_registry())

    def test_options_survive_as_json(self, chosen: ChosenJudge) -> None:
        """Tables record them as JSON; an unknown one is refused."""
        kind = type(chosen.options)
        assert kind.model_validate(chosen.options.model_dump(mode="json")) == chosen.options
        with pytest.raises(ValidationError):
            kind.model_validate({**self.options, "no_such_option": 1})

    def test_it_is_chosen_without_torch(self, chosen: ChosenJudge) -> None:
        """The module of the options imports quickly, as every command imports it."""
        module = type(chosen.options).__module__
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr or f"{module} imports torch"

    def test_right_answers_score_higher_than_wrong_ones(self, chosen: ChosenJudge) -> None:
        """On average, of those that it can judge; each score is from 0 to 1."""
        judge = chosen.open()
        right, wrong = ([x for x in judge(part) if x is not None] for part in (RIGHT, WRONG))
        assert right and wrong
        assert sum(right) / len(right) > sum(wrong) / len(wrong)

    def test_an_answer_alone_scores_as_among_others(self, chosen: ChosenJudge) -> None:
        """Whatever their number and order, and no answers have no scores."""
        judge = chosen.open()
        together = judge([*RIGHT, *WRONG])
        alone = [score for each in (*RIGHT, *WRONG) for score in judge([each])]
        backwards = judge([*RIGHT, *WRONG][::-1])[::-1]
        for found in (alone, backwards):
            assert [x is None for x in found] == [x is None for x in together]
            known = [(x, y) for x, y in zip(found, together, strict=True) if x is not None]
            assert all(x == pytest.approx(y, abs=self.tolerance) for x, y in known)
        assert judge([]) == []
