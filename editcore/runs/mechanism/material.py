"""What the experiments share: the model, C, the cases' keys and v*, and the texts."""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.datasets.readers import read_cases, read_texts
from editcore.errors import DataError
from editcore.evaluation.perplexity import EditedPerplexity, Perplexity
from editcore.keyvalue import value_file
from editcore.keyvalue.keys import KeyPair, SubjectKeys, collect_keys, fill, tokenize_templates
from editcore.keyvalue.moment_accumulator import texts_within
from editcore.keyvalue.rank_one import RankOne, solve_rank_one
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.value import Value
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import TokenizedPrompt, tokenize_prompt
from editcore.planning.jobs import CaseSet, MechanismJob
from editcore.registry.registry import Registry, load_registry
from editcore.requests import SLOT, EditRequest
from editcore.runs.baseline import Baseline
from editcore.updates.delta import Delta

COLLAPSE, NORMAL = "collapse", "normal"
CASES_AT_A_TIME = 16


@dataclass(frozen=True)
class Case:
    """One case of a set: its bare prompt in tokens, its keys under every template, and v*."""

    request: EditRequest
    prompt: TokenizedPrompt
    keys: SubjectKeys
    value: Value


@dataclass(frozen=True)
class Material:
    """A model with its cases, keys and texts; `texts` are those that C is estimated from."""

    job: MechanismJob
    model: LoadedModel
    moment: SecondMoment
    sets: Mapping[str, Sequence[Case]]
    texts: Sequence[str]
    unedited: Perplexity
    edited: EditedPerplexity

    @classmethod
    def open(cls, job: MechanismJob) -> "Material":
        """Load everything; `EditcoreError` for whatever is missing."""
        registry = load_registry()
        baseline = Baseline.open(job, registry)
        context, model = baseline.session.context, baseline.model
        (layer,) = context.moments
        assert context.prefixes is not None
        templates = context.prefixes.templates
        given = {COLLAPSE: job.hard_cases, NORMAL: job.normal_cases}
        sets = {
            name: _cases(model, layer, each, templates, registry) for name, each in given.items()
        }
        running = list(texts_within(model, read_texts(job.texts.path, None), job.texts.tokens))
        measured = baseline.unedited, baseline.edited
        return cls(job, model, context.moments[layer], sets, running, *measured)

    @property
    def layer(self) -> int:
        """The edited layer."""
        return self.moment.layer

    @cached_property
    def rows(self) -> list[list[int]]:
        """The texts in tokens, none of them special."""
        tokens: list[list[int]] = self.model.tokenizer(list(self.texts), add_special_tokens=False)[
            "input_ids"
        ]
        return [row for row in tokens if row]

    @cached_property
    def frequency(self) -> Mapping[int, float]:
        """How often each token occurs in the texts, as a share of all tokens."""
        counts = Counter(token for row in self.rows for token in row)
        total = sum(counts.values())
        return {token: count / total for token, count in counts.items()}

    def solve(self, case: Case, keys: KeyPair, *, second_moment: bool = True) -> RankOne:
        """The update that binds a case's v* to the keys chosen."""
        return solve_rank_one(case.value.target, keys, self.moment if second_moment else None)

    def perplexities(self, edits: Sequence[RankOne]) -> list[float]:
        """The perplexity of the model under each update; inf for one that is not finite."""
        name = self.model.parts.down_weight(self.layer)
        sound = [i for i, edit in enumerate(edits) if edit.update.finite()]
        measured = self.edited.of([Delta({name: edits[i].update}) for i in sound])
        found = dict(zip(sound, (each.mean for each in measured), strict=True))
        return [found.get(i, math.inf) for i in range(len(edits))]


def _cases(
    model: LoadedModel, layer: int, given: CaseSet, templates: Sequence[str], registry: Registry
) -> list[Case]:
    requests = read_cases(given.dataset.path, given.dataset.format, given.case_ids, registry)
    values = value_file.load(Path(given.values), model.device)
    found: list[Case] = []
    values.require(given.case_ids)
    sound = [
        (request, value)
        for request in requests
        if not request.flaw and isinstance(value := values[request.case_id], Value)
    ]
    if not sound:
        raise DataError(f"{given.values}: no case of {given.dataset.name!r} has a v*")
    for start in range(0, len(sound), CASES_AT_A_TIME):
        some = sound[start : start + CASES_AT_A_TIME]
        prompts = [tokenize_templates(model, request, templates) for request, _ in some]
        keys = collect_keys(model, layer, prompts)
        for (request, value), prompt, key in zip(some, prompts, keys, strict=True):
            found.append(Case(request, prompt[0], key, value))
    return found


def stacked(keys: Sequence[Float[Tensor, " d_key"]]) -> Float64[Tensor, "case d_key"]:
    """Keys as rows, on the processor."""
    return torch.stack([key.double().cpu() for key in keys])


def behind_prefixes(
    material: Material, cases: Sequence[Case], length: int
) -> Float64[Tensor, "case d_key"]:
    """kᵘ of some cases, each after `length` tokens cut at random out of the texts.

    Which tokens is drawn by seed, case and length.
    """
    prompts = []
    for case in cases:
        template = _template(material, case, length)
        prompt = fill(template, case.request.prompt)
        prompts.append([tokenize_prompt(material.model.tokenizer, prompt, case.request.subject)])
    return stacked([keys.bare for keys in collect_keys(material.model, material.layer, prompts)])


def _template(material: Material, case: Case, length: int) -> str:
    if not length:
        return SLOT
    rng = random.Random(f"{material.job.seed}:{case.request.case_id}:{length}")
    row = rng.choice([row for row in material.rows if len(row) >= length] or material.rows)
    start = rng.randrange(max(1, len(row) - length + 1))
    cut = str(material.model.tokenizer.decode(row[start : start + length]))
    return " ".join(cut.replace("{", " ").replace("}", " ").split()) + f" {SLOT}"
