"""Generates hard cases on the pattern of HardEdit, for any tokenizer, from words and relations.

"The Butterfly Effect of Model Editing", §6: the subject is one common word that opens the prompt
and is one token; the new object is plausible and false; relations vary. Which words are one token
depends on the tokenizer, so each tokenizer has its own cases.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from editcore.config.messages import validated
from editcore.datasets.writers import Record, counterfact_record
from editcore.errors import DataError, RequestError, reading
from editcore.requests import SLOT, EditRequest, Probe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NEIGHBOURS = 5


class Relation(BaseModel):
    """A relation: `template` opens with the subject, `paraphrases` express it in other words.

    Its subjects are words of the named `kinds`, its objects one of `objects`; `neighbours` are
    subjects for the neighbours' prompts, by default other words of those kinds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    template: str = Field(pattern=r"^\{\}[^{}]*$")
    paraphrases: tuple[str, ...] = Field(min_length=1)
    kinds: tuple[str, ...] = Field(min_length=1)
    objects: tuple[str, ...] = Field(min_length=2)
    neighbours: tuple[str, ...] = ()


class Vocabulary(BaseModel):
    """The file of words: common words by kind, such as `animal`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: dict[str, tuple[str, ...]] = Field(min_length=1)


class RelationFile(BaseModel):
    """The file of relations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    relations: tuple[Relation, ...] = Field(min_length=1)


FileT = TypeVar("FileT", bound=BaseModel)


def generate(
    vocabulary: Vocabulary,
    relations: Sequence[Relation],
    tokenizer: "PreTrainedTokenizerBase",
    count: int,
    seed: int,
) -> list[Record]:
    """`count` hard cases as COUNTERFACT's records; the same arguments give the same cases.

    Relations are used equally often as far as possible, and no word is used twice before all have
    been used once. The true object is drawn at random as well, because a common word has no true
    object. Raises `DataError` if words and relations give fewer cases.
    """
    draw = random.Random(seed)
    pairs = list(_pairs(vocabulary, relations, tokenizer, draw))
    if len(pairs) < count:
        raise DataError(
            f"{count} cases were asked for, but the words that are one token and the relations "
            f"that take them give {len(pairs)}; ask for fewer, or add words or relations"
        )
    return [_record(i, *pair, vocabulary, draw) for i, pair in enumerate(pairs[:count])]


def _pairs(
    vocabulary: Vocabulary,
    relations: Sequence[Relation],
    tokenizer: "PreTrainedTokenizerBase",
    draw: random.Random,
) -> Iterator[tuple[str, Relation]]:
    """Pairs of word and relation, each once, in rounds over the words that have one left."""
    kinds = {word: kind for kind, some in vocabulary.words.items() for word in some}
    words = sorted(kinds)
    draw.shuffle(words)
    left = {
        word: [
            relation
            for relation in relations
            if kinds[word] in relation.kinds
            and opens_as_one_token(tokenizer, relation.template, word)
        ]
        for word in words
    }
    used: Counter[str] = Counter()
    while any(left.values()):
        for word in (word for word in words if left[word]):
            relation = min(left[word], key=lambda each: (used[each.id], draw.random()))
            left[word].remove(relation)
            used[relation.id] += 1
            yield word, relation


def opens_as_one_token(tokenizer: "PreTrainedTokenizerBase", template: str, word: str) -> bool:
    """Whether the word is exactly one token if the template opens with it."""
    from editcore.models.tokenization import tokenize_prompt  # imported late: torch

    try:
        place = tokenize_prompt(tokenizer, template, word)
    except RequestError:
        return False
    return place.subject_tokens == 1


def _record(
    case_id: int, subject: str, relation: Relation, vocabulary: Vocabulary, draw: random.Random
) -> Record:
    new, true = draw.sample(relation.objects, 2)
    others = relation.neighbours or [
        word for kind in relation.kinds for word in vocabulary.words.get(kind, ())
    ]
    around = [word for word in others if word != subject]
    near = draw.sample(around, min(NEIGHBOURS, len(around)))
    return counterfact_record(
        EditRequest(
            case_id,
            relation.template,
            subject,
            new,
            true,
            relation.id,
            tuple(text.replace(SLOT, subject) for text in relation.paraphrases),
            tuple(Probe(relation.template.replace(SLOT, word), true) for word in near),
        )
    )


def read_vocabulary(path: Path) -> Vocabulary:
    """The words of a file `{"words": {"animal": ["Otter", …], …}}`; `EditcoreError` for others."""
    return _read(Vocabulary, path)


def read_relations(path: Path) -> tuple[Relation, ...]:
    """The relations of a file `{"relations": [{"id": …}, …]}`; `EditcoreError` for others."""
    return _read(RelationFile, path).relations


def _read(kind: type[FileT], path: Path) -> FileT:
    with reading(path, "JSON", "correct the file"):
        content = json.loads(path.read_text(encoding="utf-8"))
    return validated(kind, content, str(path))
