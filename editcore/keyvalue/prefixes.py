"""Context templates: short texts sampled from the model itself, saved and hashed.

ROME averages a subject's key over them (Meng et al. 2022, eq. 3 and appendix E.5); the studies of
collapse test edited prompts after them.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from editcore.atomic import write_text
from editcore.errors import ConfigError, ModelError, reading, require
from editcore.records.digests import DIGEST, check_digest
from editcore.requests import SLOT

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel

TOP_K = 5
# Templates that an edited prompt is tested in: one alone may favour or spoil an edit.
TEST_PREFIXES = 5
REMEDY = "delete it and run again, so that `editcore prefixes` writes it"


@dataclass(frozen=True)
class WeightedTemplates:
    """Templates, the bare prompt first, and their weights, which add up to one."""

    templates: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class ContextPrefixes:
    """Templates with `{}` for the prompt; the first is the bare prompt, `{}`.

    `groups` are the numbers of consecutive templates of similar length after the bare prompt; by
    default all of them are one group. Raises `ValueError` if they do not add up.
    """

    templates: tuple[str, ...]
    model: str
    seed: int
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        sampled = len(self.templates) - 1
        if not self.groups and sampled > 0:
            object.__setattr__(self, "groups", (sampled,))
        if sum(self.groups) != sampled:
            raise ValueError(f"groups {list(self.groups)} do not add up to {sampled} templates")

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that identify these templates in every row that used them."""
        return hashlib.sha256(json.dumps(self.templates).encode()).hexdigest()[:12]

    def last(self, sampled: int | None) -> tuple[str, ...]:
        """The bare prompt and the last `sampled` templates; None is all of them."""
        if sampled is None:
            return self.templates
        return (self.templates[0], *self.templates[max(1, len(self.templates) - sampled) :])

    def weighted(self, sampled: int) -> WeightedTemplates:
        """The bare prompt and the last `sampled` templates, weighted as in MEMIT's release.

        A key is the mean over groups of the mean within each: the bare prompt is one group, and the
        templates of each length are another.

        >>> ContextPrefixes(("{}", "I. {}", "You. {}"), "m", 0).weighted(5).weights
        (0.5, 0.25, 0.25)
        """
        group = [i for i, size in enumerate(self.groups) for _ in range(size)]
        chosen = [-1, *group[-sampled:]]
        sizes = Counter(chosen)
        return WeightedTemplates(
            self.last(sampled),
            tuple(1 / (len(sizes) * sizes[group]) for group in chosen),
        )

    def for_tests(self, seed: int, case_id: int) -> tuple[str, ...]:
        """The templates of a case's prefixed tests, drawn by seed and case, whatever its shard.

        They are `TEST_PREFIXES` different ones, or all if there are fewer. Tests after a single
        prefix use the first.
        """
        sampled = self.templates[1:] or self.templates
        draw = random.Random(f"{seed}:{case_id}")
        first = draw.choice(sampled)
        others = [template for template in dict.fromkeys(sampled) if template != first]
        return (first, *draw.sample(others, min(TEST_PREFIXES - 1, len(others))))


def sample_prefixes(
    model: "LoadedModel", lengths: Sequence[tuple[int, int]], seeds: Sequence[str], seed: int
) -> ContextPrefixes:
    """Sample `n` prefixes for each `(tokens, n)` in `lengths`, which begin with `seeds` in turn.

    Raises `ConfigError` for lengths or seeds that the model cannot take, `ModelError` if its
    probabilities are not finite.
    """
    longest = max(tokens for tokens, _ in lengths)
    if longest > model.max_positions:
        raise ConfigError(
            f"prefixes of {longest} tokens were asked for, but {model.name!r} reads at most "
            f"{model.max_positions}; make them shorter"
        )
    generator = torch.Generator().manual_seed(seed)
    templates = [SLOT]
    for tokens, number in lengths:
        for i in range(number):
            text = _continue(model, seeds[i % len(seeds)], tokens, generator)
            templates.append(f"{text}. {SLOT}")
    groups = tuple(number for _, number in lengths)
    return ContextPrefixes(tuple(templates), model.name, seed, groups)


@torch.no_grad()
def _continue(model: "LoadedModel", opening: str, tokens: int, generator: torch.Generator) -> str:
    """Top-k sampling up to `tokens` tokens, including those of the opening word."""
    ids = model.tokenizer(opening, return_tensors="pt")["input_ids"]
    if ids.shape[1] == 0:
        raise ConfigError(f"the prefix seed {opening!r} has no tokens in {model.name!r}; change it")
    while ids.shape[1] < tokens:
        logits = model.model(ids.to(model.device)).logits[0, -1].float().cpu()
        if not logits.isfinite().all():
            raise ModelError(
                f"model {model.name!r} gives probabilities that are not finite after {opening!r} "
                f"in {model.model.dtype}; choose another dtype, or download the weights again"
            )
        best = logits.topk(min(TOP_K, len(logits)))
        choice = torch.multinomial(best.values.softmax(0), 1, generator=generator)
        ids = torch.cat([ids, best.indices[choice][None]], dim=1)
    text = str(model.tokenizer.decode(ids[0], skip_special_tokens=True))
    return " ".join(text.replace("{", " ").replace("}", " ").split())


def save(prefixes: ContextPrefixes, path: Path) -> None:
    """Write the templates as JSON, whole or not at all."""
    record = asdict(prefixes)
    record |= {DIGEST: _digest(record)}
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> ContextPrefixes:
    """Read templates written by `save`; `DataError` for anything else."""
    with reading(path, "context templates", REMEDY):
        record = json.loads(path.read_text(encoding="utf-8"))
        require(isinstance(record, dict), "it is no mapping")
        check_digest(path, record.pop(DIGEST, None), _digest(record), REMEDY)
        templates, groups = record["templates"], record.get("groups", [])
        require(isinstance(templates, list) and len(templates) > 0, "there is no list of templates")
        for template in templates:
            require(isinstance(template, str), f"{template!r:.40} is not text")
            require(template.count(SLOT) == 1, f"{template!r:.40} does not have exactly one {SLOT}")
        require(isinstance(groups, list), "groups is not a list")
        sizes = tuple(int(size) for size in groups)
        return ContextPrefixes(tuple(templates), str(record["model"]), int(record["seed"]), sizes)


def _digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of everything in a file of templates but the digest itself."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
