"""Draws what one step learns from: edits, paraphrases that must follow, facts that must stay.

A relation's prompts and paraphrases fit all of its subjects, and any of its objects can be the new
one, so few facts give many edits. Facts without a relation are taken as their records have them.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from editcore import SLOT, EditRequest, Probe, RequestError
from editcore.toolkit import LoadedModel
from editcore_mend.rows import Line, line


@dataclass(frozen=True)
class Example:
    """One edit in tokens, its paraphrases with the same target, and neighbours."""

    edit: Line
    paraphrases: tuple[Line, ...]
    neighbours: tuple[Line, ...]


@dataclass
class _Relation:
    """What the facts of one relation have in common; each list without repetitions."""

    prompts: dict[str, None] = field(default_factory=dict)
    paraphrases: dict[str, None] = field(default_factory=dict)
    objects: dict[str, None] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)

    def add(self, fact: EditRequest) -> None:
        """Learn a fact's wordings; one that names its subject otherwise fits no other."""
        self.prompts[fact.prompt] = None
        worded = (p.replace(fact.subject, SLOT) for p in fact.paraphrases)
        self.paraphrases |= {p: None for p in worded if p.count(SLOT) == 1}
        self.objects[fact.target_true] = None
        self.subjects[fact.subject] = fact.target_true


def own(model: LoadedModel, fact: EditRequest, paraphrases: int, neighbours: int) -> Example | None:
    """A fact as its record has it; None where it cannot be tokenised or lacks such prompts."""
    return _example(
        model,
        fact.text,
        fact.target_new,
        fact.paraphrases[:paraphrases],
        fact.neighbours[:neighbours],
    )


@dataclass(frozen=True)
class Examples:
    """Draws examples from training facts."""

    model: LoadedModel
    facts: Sequence[EditRequest]
    paraphrases: int
    neighbours: int
    relations: Mapping[str, _Relation]

    @classmethod
    def of(
        cls, model: LoadedModel, facts: Sequence[EditRequest], paraphrases: int, neighbours: int
    ) -> "Examples":
        """Gather what the facts of each relation have in common."""
        relations: dict[str, _Relation] = defaultdict(_Relation)
        for fact in facts:
            if fact.relation:
                relations[fact.relation].add(fact)
        return cls(model, facts, paraphrases, neighbours, dict(relations))

    def draw(self, count: int, rng: random.Random) -> list[Example]:
        """As many examples, or fewer where some fact cannot be posed."""
        drawn = (self._one(rng.choice(self.facts), rng) for _ in range(count))
        return [example for example in drawn if example is not None]

    def _one(self, fact: EditRequest, rng: random.Random) -> Example | None:
        relation = self.relations.get(fact.relation)
        others = [o for o in relation.objects if o != fact.target_true] if relation else []
        if relation is None or not others or len(relation.subjects) < 2:
            return own(self.model, fact, self.paraphrases, self.neighbours)
        template = rng.choice(list(relation.prompts))
        # By half: prompts are few, and paraphrases, each after a sentence of its own, are many.
        worded = [list(pool) for pool in (relation.prompts, relation.paraphrases) if pool]
        others_asked = [rng.choice(list(relation.subjects)) for _ in range(self.neighbours)]
        return _example(
            self.model,
            template.replace(SLOT, fact.subject),
            rng.choice(others),
            [
                rng.choice(rng.choice(worded)).replace(SLOT, fact.subject)
                for _ in range(self.paraphrases)
            ],
            [
                Probe(template.replace(SLOT, subject), relation.subjects[subject])
                for subject in others_asked
                if subject != fact.subject
            ],
        )


def _example(
    model: LoadedModel,
    prompt: str,
    target: str,
    paraphrases: Iterable[str],
    neighbours: Iterable[Probe],
) -> Example | None:
    try:
        found = Example(
            line(model, prompt, target),
            tuple(line(model, paraphrase, target) for paraphrase in paraphrases),
            tuple(line(model, probe.prompt, probe.target) for probe in neighbours),
        )
    except RequestError:
        return None
    return found if found.paraphrases and found.neighbours else None
