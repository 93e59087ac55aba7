"""The tables of freely generated answers: every column with its meaning."""

from editcore.records.columns import flag, real, schema, small, text, texts, whole
from editcore.records.schemas import GROUP

MEASURES = ("efficacy", "generalization", "portability", "locality")
CONTEXTS = ("bare", "instruction", "chat")

_KEYS = ("model", "editor", "dataset", "case_id", "measure", "context", "number")

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
    _KEYS,
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
    ),
    required=(
        *("prompt", "question", "accepted", "answer_base", "answer"),
        *("exact_match_base", "exact_match", "f1_base", "f1", "contains_base", "contains"),
        "unchanged",
    ),
)
