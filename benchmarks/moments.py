"""Compares C from a model's own texts with C from others: in C⁻¹k, and in what ROME's edits do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import torch
from editcore_rome.config import RomeConfig

from editcore.config.texts import PrefixSection
from editcore.datasets.readers import read_requests, read_texts
from editcore.evaluation.perplexity import EditedPerplexity, measure, tokenize
from editcore.evaluation.teacher_forcing import Question, ask_edited, tokenize_questions
from editcore.keyvalue.estimation.moment_accumulator import measure_moments, texts_within
from editcore.keyvalue.estimation.own_texts import write_own_texts
from editcore.keyvalue.keys import KeyPair, collect_keys, mixed, tokenize_templates
from editcore.keyvalue.prefixes import sample_prefixes
from editcore.keyvalue.rank_one import RankOne, solve_rank_one
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.value import Value
from editcore.keyvalue.value_search import find_values
from editcore.models.loading import LoadedModel
from editcore.planning.cases import of_kind
from editcore.planning.jobs import ModelSpec
from editcore.requests import EditRequest
from editcore.updates.delta import Delta

COLLAPSE_RATIO = 10.0
WITHOUT = "none"
REAL, MORE_REAL, OWN, OWN_HALF = "real", "real, other texts", "own", "own, half as many tokens"

Moments = Mapping[str, Mapping[int, SecondMoment]]


@dataclass(frozen=True)
class Comparison:
    """A model, the facts to edit, and what perplexity is measured on."""

    model: LoadedModel
    hard: Sequence[EditRequest]
    normal: Sequence[EditRequest]
    perplexity: Sequence[str]

    @classmethod
    def of(
        cls, model: LoadedModel, source: str, facts: Path, cases: int, texts: Path, count: int
    ) -> "Comparison":
        """`cases` hard and as many normal facts of a file, and the first `count` of its texts."""
        spec, known = ModelSpec(name=model.name, source=source), read_requests(facts)
        hard, normal = (_spread(of_kind(known, only, [spec]), cases) for only in ("hard", "normal"))
        return cls(model, hard, normal, read_texts(texts, count))

    def moments(
        self, layers: Sequence[int], tokens: int, real: Path, other: Path | None
    ) -> Moments:
        """C of each layer by where it is from; twice from real texts, no text being in both."""
        model, texts = self.model, read_texts(real)
        first = list(texts_within(model, texts, tokens))
        own = write_own_texts(model, tokens, seed=0)
        sources = {
            REAL: (first, tokens),
            MORE_REAL: (texts[len(first) :], tokens),
            OWN: (own, tokens),
            OWN_HALF: (own, tokens // 2),
        }
        if other is not None:
            sources[other.parent.name] = (read_texts(other), tokens)
        return {
            name: measure_moments(model, layers, some, most)
            for name, (some, most) in sources.items()
        }

    def at(self, layer: int, moments: Moments) -> dict[str, Any]:
        """The comparison at one layer: cosines of C⁻¹k with `REAL`, and edits with each C."""
        requests = [*self.hard, *self.normal]
        templates = self._templates
        prompts = [tokenize_templates(self.model, request, templates) for request in requests]
        pairs = [mixed(keys) for keys in collect_keys(self.model, layer, prompts)]
        by_source = {name: of[layer] for name, of in moments.items()}
        found = {"cosine with real": self._cosines(pairs, by_source)}
        values = find_values(
            self.model, requests, templates, RomeConfig(layer=layer).value_options()
        )
        sound = [i for i, value in enumerate(values) if isinstance(value, Value)]
        for name in (
            WITHOUT,
            REAL,
            OWN,
            *(n for n in by_source if n not in (REAL, MORE_REAL, OWN, OWN_HALF)),
        ):
            edits = {
                i: solve_rank_one(value.target, pairs[i], by_source.get(name))
                for i in sound
                if isinstance(value := values[i], Value)
            }
            found[f"edits, C {name}"] = self._outcome(layer, edits)
        return found

    def _cosines(
        self, pairs: Sequence[KeyPair], moments: Mapping[str, SecondMoment]
    ) -> dict[str, Any]:
        keys = torch.stack([pair.direction.double().cpu() for pair in pairs])
        solved = {name: moment.solve(keys) for name, moment in moments.items()} | {WITHOUT: keys}
        return {
            name: self._split(torch.cosine_similarity(solved[REAL], rows).tolist())
            for name, rows in solved.items()
            if name != REAL
        }

    def _outcome(self, layer: int, edits: Mapping[int, RankOne]) -> dict[str, Any]:
        name = self.model.parts.down_weight(layer)
        deltas = [Delta({name: edit.update}) for edit in edits.values()]
        after = [each.mean for each in self._edited.of(deltas)]
        ratios = dict(zip(edits, (value / self._before for value in after), strict=True))
        said = dict(zip(edits, self._efficacies(edits, deltas), strict=True))
        kinds = {
            "hard": range(len(self.hard)),
            "normal": range(len(self.hard), len(self.hard) + len(self.normal)),
        }
        return {
            kind: {
                "cases": len(these := [i for i in places if i in edits]),
                "efficacy": sum(said[i] for i in these) / len(these),
                "ratio, median": median(ratios[i] for i in these),
                "ratio, worst": max(ratios[i] for i in these),
                "collapsed": sum(ratios[i] > COLLAPSE_RATIO for i in these),
                "denominator, median": median(edits[i].denominator for i in these),
            }
            for kind, places in kinds.items()
        }

    def _efficacies(self, edits: Mapping[int, RankOne], deltas: Sequence[Delta]) -> list[float]:
        requests = [*self.hard, *self.normal]
        asked = [Question(requests[i].text, requests[i].target_new) for i in edits]
        tokens = [tokenize_questions(self.model, [question]) for question in asked]
        answers = ask_edited(self.model, tokens, deltas)
        return [after[q].accuracy for q, (_, after) in zip(asked, answers, strict=True)]

    def _split(self, numbers: Sequence[float]) -> dict[str, float]:
        hard, normal = numbers[: len(self.hard)], numbers[len(self.hard) :]
        return {
            "hard": sum(hard) / len(hard),
            "normal": sum(normal) / len(normal),
            "least": min(numbers),
        }

    @cached_property
    def _templates(self) -> tuple[str, ...]:
        usual = PrefixSection()
        return sample_prefixes(self.model, usual.lengths, usual.seeds, seed=0).templates

    @cached_property
    def _before(self) -> float:
        return measure(self.model, self._edited.texts).mean

    @cached_property
    def _edited(self) -> EditedPerplexity:
        return EditedPerplexity(self.model, tokenize(self.model, self.perplexity))


def _spread(requests: Sequence[EditRequest], count: int) -> list[EditRequest]:
    """`count` requests spread evenly, since files are often sorted by relation."""
    return [requests[i * len(requests) // count] for i in range(count)]
