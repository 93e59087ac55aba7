"""The tables of freely generated answers and of their scores: every column with its meaning."""

from editcore.records.columns import flag, real, schema, small, text, texts, whole
from editcore.records.schemas import GROUP

MEASURES = ("efficacy", "generalization", "portability", "locality")
CONTEXTS = ("bare", "instruction", "chat")

ANSWER_KEYS = ("model", "editor", "dataset", "case_id", "measure", "context", "number")

_ASKED = (
    *GROUP,
    whole("case_id", "the case's number in the data set"),
    text(
        "measure",
        "what the question tests: `efficacy` the fact itself, `generalization` a paraphrase, "
        "`portability` a consequence of the edit, `locality` a fact that must not change",
    ),
    text(
        "context",
        "how the model was asked: `bare` with the question alone, `instruction` after an "
        "instruction to answer, or `chat` through its chat template",
    ),
    small("number", "number of the question among those of its case and measure, from 0"),
)

ANSWERS = schema(
    "answers/1",
    ANSWER_KEYS,
    (
        *_ASKED,
        text("kind", "the data set's name for such questions; null if it has only one kind"),
        text("prompt", "the text that the models read"),
        text("question", "the question in it, without instruction and chat template"),
        texts(
            "accepted",
            "the right answers: the new object and its other names; for locality, the neighbour's",
        ),
        text("answer_base", "the unedited model's greedy answer"),
        text("answer", "the edited model's greedy answer"),
        real(
            "exact_match_base",
            "1 if the unedited model's answer has the words of an accepted one, otherwise 0; "
            "letter case, punctuation and articles do not count, as in SQuAD",
        ),
        real("exact_match", "the same for the edited model's answer"),
        real(
            "f1_base",
            "F1 of the words of the unedited model's answer and of an accepted one, the greatest "
            "over the accepted ones",
        ),
        real("f1", "the same for the edited model's answer"),
        real(
            "contains_base",
            "1 if the unedited model's answer contains the words of an accepted one in a row, "
            "otherwise 0",
        ),
        real("contains", "the same for the edited model's answer"),
        flag("unchanged", "whether both answers are the same text"),
        real("seconds", "time for the edited model's answer, its share of shared passes", "s"),
    ),
    required=(
        *("prompt", "question", "accepted", "answer_base", "answer"),
        *("exact_match_base", "exact_match", "f1_base", "f1", "contains_base", "contains"),
        "unchanged",
    ),
)

_GROUP_KEYS = ("model", "editor", "dataset", "measure", "context")

ANSWERS_SUMMARY = schema(
    "answers-summary/1",
    _GROUP_KEYS,
    (
        *GROUP,
        *(column for column in _ASKED if column.name in ("measure", "context")),
        whole("n_cases", "cases with such questions"),
        whole("n", "questions"),
        real("exact_match_base", "mean over the questions, of the unedited model"),
        real("exact_match", "the same of the edited models"),
        real(
            "exact_match_any",
            "share of the edited models that give an accepted answer to at least one of a case's "
            "questions of one kind, mean over the kinds, as MQuAKE counts its questions",
        ),
        real("f1_base", "mean over the questions, of the unedited model"),
        real("f1", "the same of the edited models"),
        real("contains_base", "mean over the questions, of the unedited model"),
        real("contains", "the same of the edited models"),
        real("unchanged", "share of the questions with the same answer before and after the edit"),
        real("seconds", "time for the edited models' answers", "s"),
    ),
    required=("n_cases", "n"),
)

JUDGED = schema(
    "answers-judged/1",
    (*ANSWER_KEYS, "judge"),
    (
        *_ASKED,
        text("judge", "the judge's name"),
        text("judge_options", "JSON: the judge's options, with defaults"),
        real(
            "judged_base",
            "the judge's score of the unedited model's answer, from 0, wrong, to 1, right; null if "
            "it could not judge it",
        ),
        real("judged", "the same for the edited model's answer"),
    ),
    required=("judge_options",),
)
