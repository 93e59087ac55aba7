"""Judges score answers, and what a plugin's judge does wrong is one sentence."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editcore import ConfigError, JudgeConfig, JudgeInfo, PluginError, load_registry
from editcore.evaluation.judges import ChosenJudge, Judged, NamedJudge, choose
from editcore.evaluation.qa_overlap import contains, exact_match, f1
from editcore.registry.catalogue import Registered, Source
from editcore.testing import JudgeConformance

ASKED = Judged("Who makes Coral?", ("Osdor Works", "Osdor"), "It is Osdor.")
TEXTS = st.lists(st.sampled_from(["a", "the", "sea", "of", "Elro!", "elro", "?"])).map(" ".join)


class TestExactMatch(JudgeConformance):
    judge = "exact-match"


class TestF1(JudgeConformance):
    judge = "f1"


class TestContains(JudgeConformance):
    judge = "contains"


@pytest.mark.parametrize(
    ("answer", "exact", "shared", "within"),
    [
        ("The Osdor Works!", 1.0, 1.0, 1.0),
        ("osdor", 1.0, 1.0, 1.0),
        ("It is Osdor, I think", 0.0, 2 / 6, 1.0),
        ("Works Osdor", 0.0, 1.0, 1.0),
        ("Osdorf", 0.0, 0.0, 0.0),
        ("works", 0.0, 2 / 3, 0.0),
        ("", 0.0, 0.0, 0.0),
    ],
)
def test_answers_are_judged_by_their_words(
    answer: str, exact: float, shared: float, within: float
) -> None:
    asked = Judged(ASKED.question, ASKED.accepted, answer)
    registry = load_registry()
    for name, wanted in (("exact-match", exact), ("f1", shared), ("contains", within)):
        assert choose(name, {}, registry).open()([asked]) == [pytest.approx(wanted)]


@given(TEXTS, st.lists(TEXTS), TEXTS)
def test_scores_keep_their_order_and_further_names_never_lower_them(
    answer: str, accepted: list[str], further: str
) -> None:
    exact = exact_match(answer, accepted)
    for score in (f1, contains):
        assert exact <= score(answer, accepted) <= score(answer, [*accepted, further]) <= 1
        assert score(answer, [*accepted, answer]) == exact_match(answer, [answer]) == 1


def opened(scores: Any) -> NamedJudge:
    """A third party's judge that returns or raises `scores`."""

    def judge(answers: Sequence[Judged]) -> Any:
        if isinstance(scores, Exception):
            raise scores
        return scores

    return NamedJudge(JudgeInfo("mine", "", "", JudgeConfig, "nowhere:mine"), judge)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([1.0], "judge mine: it returned 1 scores for 2 answers"),
        ([0.5, 1.5], "judge mine: it returned the score 1.5, which is not from 0 to 1"),
        ([0.5, float("nan")], "judge mine: it returned the score nan"),
        ([0.5, "no"], "judge mine: ValueError: could not convert string to float"),
        (None, "judge mine: TypeError"),
        (KeyError("question"), "judge mine: KeyError: 'question'"),
    ],
)
def test_a_judge_that_breaks_its_contract_is_named(scores: Any, reason: str) -> None:
    with pytest.raises(PluginError, match=f"^{reason}"):
        opened(scores)([ASKED, ASKED])


def test_an_answer_may_have_no_score_and_lack_of_memory_is_not_the_plugin_s() -> None:
    assert opened([None, True])([ASKED, ASKED]) == [None, 1.0]
    with pytest.raises(MemoryError):
        opened(MemoryError())([ASKED])


def test_a_judge_that_cannot_be_opened_is_named() -> None:
    info = JudgeInfo("mine", "", "", JudgeConfig, f"{__name__}:explode")
    chosen = ChosenJudge(Registered(info, Source("mine", "1", "")), JudgeConfig())
    with pytest.raises(PluginError, match=r"^judge mine: OSError: no licence"):
        chosen.open()


def explode(options: JudgeConfig) -> None:
    raise OSError("no licence")


def test_unknown_judges_and_options_are_refused_with_the_nearest_name() -> None:
    registry = load_registry()
    with pytest.raises(PluginError, match=r"unknown judge 'contain'. Did you mean 'contains'\?"):
        choose("contain", {}, registry)
    with pytest.raises(ConfigError, match="options of the judge model: sauce: unknown key"):
        choose("model", {"sauce": "tiny-gpt2"}, registry)
