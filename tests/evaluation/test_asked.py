"""The questions that a case is asked freely, in every context."""

import pytest

from editcore.config.answers import AnswersSection
from editcore.config.study import parse
from editcore.errors import ConfigError
from editcore.evaluation.asked import questions
from editcore.requests import EditRequest, Probe, Turn
from tests.studies import study_config

CHAT = Turn("<user>", "<model>", "")
FACT = EditRequest(
    4,
    "{} is made by",
    "Coral",
    "Osdor",
    "Elro",
    paraphrases=("The maker of Coral is", "Coral comes from"),
    neighbours=(Probe("Amber is made by", "Elro", ("Elro Works",)),),
    aliases=("Osdor Labs",),
    consequences=(Probe("The maker of Coral is in", "Turun", kind="two hops"),),
    question="Who makes Coral?",
)


def test_every_measure_is_asked_in_every_context() -> None:
    choice = AnswersSection(contexts=("bare", "instruction", "chat"), instruction="Q: {} A:")
    asked = list(questions(FACT, choice, CHAT))
    prompts = {(each.measure, each.context, each.number): each.prompt for each in asked}
    assert len(asked) == len(prompts) == 3 * 5
    # Alone, the fact is put as it was edited; otherwise as a person would ask for it.
    assert prompts["efficacy", "bare", 0] == "Coral is made by"
    assert prompts["efficacy", "instruction", 0] == "Q: Who makes Coral? A:"
    assert prompts["efficacy", "chat", 0] == "<user>Who makes Coral?<model>"
    assert prompts["generalization", "chat", 1] == "<user>Coral comes from<model>"
    accepted = {each.measure: each.accepted for each in asked}
    assert accepted == {
        "efficacy": ("Osdor", "Osdor Labs"),
        "generalization": ("Osdor", "Osdor Labs"),
        "portability": ("Turun",),
        "locality": ("Elro", "Elro Works"),
    }
    assert {each.kind for each in asked if each.measure == "portability"} == {"two hops"}


def test_a_chat_model_is_asked_the_same_questions() -> None:
    choice = AnswersSection(contexts=("bare", "instruction", "chat"))
    assert list(questions(FACT.in_turn(CHAT), choice, CHAT)) == list(questions(FACT, choice, CHAT))


def test_a_limit_keeps_the_first_of_each_measure() -> None:
    asked = list(questions(FACT, AnswersSection(prompts=1)))
    assert sum(each.measure == "generalization" for each in asked) == 2
    assert all(each.number == 0 for each in asked)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"contexts": ["aloud"]}, "answers.contexts"),
        ({"contexts": []}, "answers.contexts"),
        ({"contexts": ["bare", "bare"]}, "listed twice"),
        ({"instruction": "Answer:"}, "needs one `{}`"),
        ({"tokens": 0}, "answers.tokens"),
    ],
)
def test_a_wrong_section_is_refused(section: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(study_config(answers=section), "study.yaml")
