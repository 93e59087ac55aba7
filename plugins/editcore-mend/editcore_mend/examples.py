"""Draws the examples of a step: edits, paraphrases that must follow, facts that must not change.

A relation's prompts and paraphrases fit all of its subjects, and any of its objects can be the new
one, so few facts give many edits. Facts without a relation are used as they are in their records.
"""

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from editcore import SLOT, DataError, EditRequest, Probe, RequestError
from editcore.toolkit import (
    LoadedModel,
    TargetRow,
    target_row,
)

# Least share of examples that can be posed; with fewer, the network would not learn these facts.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Example:
    """One edit in tokens, its paraphrases with the same target, and neighbours."""

    edit: TargetRow
    paraphrases: tuple[TargetRow, ...]
    neighbours: tuple[TargetRow, ...]


@dataclass
class _Relation:
    """The prompts, paraphrases, objects and subjects of one relation, without repetitions."""

    prompts: dict[str, None] = field(default_factory=dict)
    paraphrases: dict[str, None] = field(default_factory=dict)
    objects: dict[str, None] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)

    def add(self, fact: EditRequest) -> None:
        """Add a fact; only paraphrases that contain its subject once fit other subjects."""
        self.prompts[fact.prompt] = None
        worded = (p.replace(fact.subject, SLOT) for p in fact.paraphrases)
        self.paraphrases |= {p: None for p in worded if p.count(SLOT) == 1}
        self.objects[fact.target_true] = None
        self.subjects[fact.subject] = fact.target_true


@dataclass
class Tally:
    """How many examples were drawn, how many of them left out, and by case id the last reason."""

    drawn: int = 0
    left_out: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def leave_out(self, fact: EditRequest, error: RequestError) -> None:
        """Count an example that cannot be posed."""
        self.left_out += 1
        self.reasons[str(fact.case_id)] = str(error)

    def require(self, part: str) -> None:
        """Raise `DataError` if too few of the examples can be used."""
        posed = self.drawn - self.left_out
        if posed < LEAST_SHARE * self.drawn:
            case, reason = next(iter(self.reasons.items()))
            raise DataError(
                f"of {self.drawn} examples drawn from the facts for {part}, only {posed} can be "
                f"used, too few to train; the fact of case {case} cannot: {reason}"
            )


def own(model: LoadedModel, fact: EditRequest, paraphrases: int, neighbours: int) -> Example:
    """A fact with the prompts of its record.

    Raises `RequestError` for a prompt with no tokens or too many, and if a kind of prompt is
    missing.
    """
    return _example(
        model,
        fact.text,
        fact.target_new,
        fact.paraphrases[:paraphrases],
        fact.neighbours[:neighbours],
    )


@dataclass(frozen=True)
class Examples:
    """Draws examples from training facts, and counts those that cannot be posed.

    If they are edited `together`, the examples of a draw must not contradict each other: no fact is
    edited twice, and none that is edited is a neighbour of another.
    """

    model: LoadedModel
    facts: Sequence[EditRequest]
    paraphrases: int
    neighbours: int
    together: bool
    relations: Mapping[str, _Relation]
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        facts: Sequence[EditRequest],
        paraphrases: int,
        neighbours: int,
        *,
        together: bool = False,
    ) -> "Examples":
        """Collect the prompts, objects and subjects of each relation."""
        relations: dict[str, _Relation] = defaultdict(_Relation)
        for fact in facts:
            if fact.relation:
                relations[fact.relation].add(fact)
        return cls(model, facts, paraphrases, neighbours, together, dict(relations))

    def draw(self, count: int, rng: random.Random) -> list[Example]:
        """`count` examples, less those that cannot be posed, which `tally` counts.

        Of facts that are edited together, at most half, so that the others can be neighbours.
        """
        found: list[Example] = []
        apart = self._apart(count, rng) if self.together else []
        edited = frozenset((fact.relation, fact.subject) for fact in apart)
        for fact in apart or (rng.choice(self.facts) for _ in range(count)):
            self.tally.drawn += 1
            try:
                found.append(self._one(fact, rng, edited))
            except RequestError as error:
                self.tally.leave_out(fact, error)
        return found

    def _apart(self, count: int, rng: random.Random) -> list[EditRequest]:
        """Facts of different subjects or relations, or of different prompts if they have none."""
        pool = {(f.relation, f.subject, "" if f.relation else f.prompt): f for f in self.facts}
        return rng.sample(list(pool.values()), min(count, (len(pool) + 1) // 2))

    def _one(
        self, fact: EditRequest, rng: random.Random, edited: Collection[tuple[str, str]]
    ) -> Example:
        relation = self.relations.get(fact.relation)
        others = [o for o in relation.objects if o != fact.target_true] if relation else []
        if relation is None or not others or len(relation.subjects) < 2:
            return own(self.model, fact, self.paraphrases, self.neighbours)
        template = rng.choice(list(relation.prompts))
        # Half of each kind, since prompts are few and paraphrases many.
        worded = [list(pool) for pool in (relation.prompts, relation.paraphrases) if pool]
        askable = [s for s in relation.subjects if (fact.relation, s) not in edited]
        others_asked = [rng.choice(askable) for _ in range(self.neighbours if askable else 0)]
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
) -> Example:
    found = Example(
        target_row(model, prompt, target),
        tuple(target_row(model, paraphrase, target) for paraphrase in paraphrases),
        tuple(target_row(model, probe.prompt, probe.target) for probe in neighbours),
    )
    for kind, lines in (("paraphrase", found.paraphrases), ("neighbour", found.neighbours)):
        if not lines:
            raise RequestError(f"{prompt!r} has no {kind}, and training needs one; add it")
    return found
