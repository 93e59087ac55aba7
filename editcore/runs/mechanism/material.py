"""The input that the experiments share: the model, C, the cases' keys and v*, and the texts."""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.datasets.readers import read_texts
from editcore.errors import DataError, RequestError
from editcore.evaluation.perplexity import EditedPerplexity, Perplexity
from editcore.keyvalue import value_file
from editcore.keyvalue.estimation.moment_accumulator import texts_within
from editcore.keyvalue.keys import KeyPair, SubjectKeys, collect_keys, tokenize_templates
from editcore.keyvalue.rank_one import RankOne, solve_rank_one
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.value import Value
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import TokenizedPrompt, tokenize_prompt
from editcore.planning.stages.jobs import CaseSet, MechanismJob
from editcore.records.mechanism_schemas import COLLAPSE, NORMAL
from editcore.registry.registry import Registry, load_registry
from editcore.requests import SLOT, EditRequest
from editcore.runs.baseline import Baseline
from editcore.runs.cases import posed_cases
from editcore.updates.delta import Delta

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
    """A model with its cases, keys and texts; `texts` are those that C is estimated from.

    `left_out` are the cases of each set that no experiment can use, by case id with the reason,
    `artefacts` the digests of the files that all this is read from, by path.
    """

    job: MechanismJob
    model: LoadedModel
    moment: SecondMoment
    sets: Mapping[str, Sequence[Case]]
    texts: Sequence[str]
    unedited: Perplexity
    edited: EditedPerplexity
    left_out: Mapping[str, Mapping[int, str]]
    artefacts: Mapping[str, str]

    @classmethod
    def open(cls, job: MechanismJob) -> "Material":
        """Load everything; `EditcoreError` if anything is missing."""
        registry = load_registry()
        baseline = Baseline.open(job, registry)
        context, model = baseline.session.context, baseline.model
        if context.prefixes is None or len(context.moments) != 1:
            raise DataError(
                "the experiments read context prefixes and the second moment of one layer, and the "
                "job does not name both; plan the study again, with `editcore plan` or snakemake"
            )
        (layer,) = context.moments
        templates = context.prefixes.templates
        given = {COLLAPSE: job.hard_cases, NORMAL: job.normal_cases}
        found = {
            name: _cases(model, layer, each, templates, registry) for name, each in given.items()
        }
        sets = {name: cases for name, (cases, _) in found.items()}
        running = list(texts_within(model, read_texts(job.texts.path, None), job.texts.tokens))
        measured = baseline.unedited, baseline.edited
        reasons = {name: reasons for name, (_, reasons) in found.items()}
        known = reasons, baseline.session.artefacts
        return _fitting(cls(job, model, context.moments[layer], sets, running, *measured, *known))

    @property
    def layer(self) -> int:
        """The edited layer."""
        return self.moment.layer

    @cached_property
    def rows(self) -> list[list[int]]:
        """The texts in tokens, without special ones."""
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
        """The rank-one update for a case's v* and the given keys, with or without C."""
        return solve_rank_one(case.value.target, keys, self.moment if second_moment else None)

    def measured(self, edits: Sequence[RankOne]) -> list[dict[str, float]]:
        """Perplexity and unchanged predictions of the edited model, as columns, for each update.

        These are inf and 0 for an update that is not finite.
        """
        name = self.model.parts.down_weight(self.layer)
        sound = [i for i, edit in enumerate(edits) if edit.update.finite()]
        measured = self.edited.of([Delta({name: edits[i].update}) for i in sound])
        columns = {
            i: {"perplexity": each.mean, "top1_kept": each.disturbance.kept}
            for i, each in zip(sound, measured, strict=True)
            if each.disturbance is not None
        }
        broken = {"perplexity": math.inf, "top1_kept": 0.0}
        base = {"perplexity_base": self.unedited.mean}
        return [base | columns.get(i, broken) for i in range(len(edits))]


def _cases(
    model: LoadedModel, layer: int, given: CaseSet, templates: Sequence[str], registry: Registry
) -> tuple[list[Case], dict[int, str]]:
    """The cases that have a v*, and why others have none."""
    requests = posed_cases(model, given.dataset, given.case_ids, registry)
    values = value_file.load(Path(given.values), model.device)
    found: list[Case] = []
    values.require(given.case_ids)
    known = [(request, request.flaw or values[request.case_id]) for request in requests]
    sound = [(request, value) for request, value in known if isinstance(value, Value)]
    reasons = {request.case_id: why for request, why in known if isinstance(why, str)}
    if not sound:
        why = next((f"; case {case}: {reason}" for case, reason in reasons.items()), "")
        raise DataError(f"{given.values}: no case of {given.dataset.name!r} has a v*{why}")
    for start in range(0, len(sound), CASES_AT_A_TIME):
        some = sound[start : start + CASES_AT_A_TIME]
        prompts = [tokenize_templates(model, request, templates) for request, _ in some]
        keys = collect_keys(model, layer, prompts)
        for (request, value), prompt, key in zip(some, prompts, keys, strict=True):
            found.append(Case(request, prompt[0], key, value))
    return found, reasons


def _fitting(material: Material) -> Material:
    """Without the collapse cases that are too long after one of the job's prefixes."""
    reasons: dict[int, str] = {}
    for case, length in product(material.sets[COLLAPSE], material.job.prefix_lengths):
        try:
            _prefixed(material, case, length)
        except RequestError as error:
            reasons[case.request.case_id] = str(error)
    kept = [c for c in material.sets[COLLAPSE] if c.request.case_id not in reasons]
    if not kept:
        raise DataError(
            "no case of `mechanism.hard` can be read after a prefix of every length: "
            f"{next(iter(reasons.values()))}"
        )
    left_out = {**material.left_out, COLLAPSE: {**material.left_out[COLLAPSE], **reasons}}
    return replace(material, sets={**material.sets, COLLAPSE: kept}, left_out=left_out)


def stacked(keys: Sequence[Float[Tensor, " d_key"]]) -> Float64[Tensor, "case d_key"]:
    """Keys as rows, in float64 on the CPU."""
    return torch.stack([key.double().cpu() for key in keys])


def keys_after_prefixes(
    material: Material, cases: Sequence[Case], length: int
) -> Float64[Tensor, "case d_key"]:
    """The key of each case's subject, after a prefix of `length` tokens cut from the texts.

    The prefix is drawn by seed, case and length; with a length of 0, the key is kᵘ.
    """
    prompts = [[_prefixed(material, case, length)] for case in cases]
    return stacked([keys.bare for keys in collect_keys(material.model, material.layer, prompts)])


def _prefixed(material: Material, case: Case, length: int) -> TokenizedPrompt:
    """The prompt after its prefix; `RequestError` if that is longer than the model takes."""
    model, request = material.model, case.request
    template = _template(material, case, length)
    asked = request.in_context(template, request.prompt)
    prompt = tokenize_prompt(model.tokenizer, asked, request.subject)
    model.check_length(request.text, len(prompt.ids), template.replace(SLOT, "").strip())
    return prompt


def _template(material: Material, case: Case, length: int) -> str:
    if not length:
        return SLOT
    rng = random.Random(f"{material.job.seed}:{case.request.case_id}:{length}")
    row = rng.choice([row for row in material.rows if len(row) >= length] or material.rows)
    start = rng.randrange(max(1, len(row) - length + 1))
    cut = str(material.model.tokenizer.decode(row[start : start + length]))
    return " ".join(cut.replace("{", " ").replace("}", " ").split()) + f" {SLOT}"
