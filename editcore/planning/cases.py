"""The cases that a study edits: of each data set, those of a kind, a half, the first.

A case is hard for a model if its subject opens the prompt and is one token; all others are normal.
Of these, a case is early if its subject ends at one of the first `EARLY` tokens, or else late.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editcore.config.study import DatasetSection, Only, Split
from editcore.datasets.data_file import DataFile
from editcore.errors import ConfigError, DataError, ModelError, Unfetched, at, in_one_line
from editcore.planning import preflight
from editcore.planning.jobs import DatasetSpec, ModelSpec
from editcore.registry.registry import Registry
from editcore.requests import EditRequest
from editcore.sources.published import local_file

# Chosen on COUNTERFACT: 7 of 80 edits of early cases raised SmolLM2's perplexity by more than a
# tenth, and none of 39 of late ones (docs/gotchas.md).
EARLY = 3


class TokenizerMissing(Unfetched):
    """Cases cannot be selected because a model's tokenizer is not on this machine."""


@dataclass(frozen=True)
class Cases:
    """A data set, and the cases of it that a study, or one shard of it, edits in some models.

    `several` are those of several facts.
    """

    dataset: DatasetSpec
    ids: tuple[int, ...]
    models: Collection[str]
    shard: int = 0
    several: Collection[int] = frozenset()

    @property
    def of_one_fact(self) -> tuple[int, ...]:
        """The ids of the cases of one fact."""
        return tuple(case for case in self.ids if case not in self.several)

    def require_one_fact(self, use: str) -> None:
        """Raise `ConfigError` if a case has several facts, which its `use` cannot take."""
        several = [case for case in self.ids if case in self.several]
        if several:
            raise ConfigError(
                f"case {several[0]} of {self.dataset.name!r} has several facts, and {use}; name "
                "data sets whose cases have one fact"
            )

    def are_for(self, model: ModelSpec) -> bool:
        """Whether the study edits them in this model."""
        return model.name in self.models

    def shards(self, size: int) -> "list[Cases]":
        """The same cases, at most `size` in each part."""
        starts = range(0, len(self.ids), size)
        return [replace(self, ids=self.ids[i : i + size], shard=n) for n, i in enumerate(starts)]

    def evenly(self, limit: int) -> tuple[int, ...]:
        """At most `limit` ids, spread evenly, since files often sort cases by their kind."""
        count = min(limit, len(self.ids))
        return tuple(self.ids[i * len(self.ids) // count] for i in range(count))


def of_dataset(
    label: str, choice: DatasetSection, registry: Registry, models: Sequence[ModelSpec], seed: int
) -> Cases:
    """The cases of a data set that a study of `models` edits; `seed` draws the halves of `split`.

    Raises `DataError` if the file is missing or unusable, `Unfetched` if it is published and not on
    this machine, `PluginError` for an unknown format, and what `chosen` raises.
    """
    path = local_file(choice)
    file = DataFile(path, choice.format, choice.columns)
    found, requests = preflight.cases(file, registry)
    edited = [each for each in models if choice.models is None or each.name in choice.models]
    with at(path):
        if choice.only is not None:
            requests = of_kind(requests, choice.only, edited)
        if choice.one_token_targets:
            requests = with_one_token_targets(requests, edited)
    if choice.split is not None:
        requests = [each for each in requests if half(seed, each.case_id) == choice.split]
    code = "" if choice.columns else registry.dataset_formats[found].foreign_code
    spec = DatasetSpec(
        name=label, path=path, format=choice.format, format_code=code, columns=choice.columns
    )
    taken = requests[: choice.limit]
    several = frozenset(request.case_id for request in taken if request.further)
    ids = tuple(request.case_id for request in taken)
    return Cases(spec, ids, [each.name for each in edited], several=several)


def half(seed: int, case_id: int) -> Split:
    """The half of a data set that a case is in; it depends on nothing else.

    >>> [half(0, case) for case in range(4, 7)]
    ['tuning', 'reported', 'reported']
    """
    return "tuning" if random.Random(f"split:{seed}:{case_id}").random() < 0.5 else "reported"


def of_kind(
    requests: Sequence[EditRequest], only: Only, models: Sequence[ModelSpec]
) -> list[EditRequest]:
    """The cases that are of a kind for every model; flawed requests are left out.

    Raises `TokenizerMissing` if a model's tokenizer is not on this machine, `ModelError` if it
    cannot be read, and `DataError` if no case is left.
    """
    kind, meaning = KINDS[only]
    found = _true_for_all(requests, kind, models)
    if not found:
        raise DataError(
            f"no case is {only} for all of the models, that is, {meaning}; leave `only: {only}` "
            "out, or give another file or other models"
        )
    return found


def with_one_token_targets(
    requests: Sequence[EditRequest], models: Sequence[ModelSpec]
) -> list[EditRequest]:
    """The cases whose new object is one token for every model; raises what `of_kind` raises."""
    found = _true_for_all(requests, has_one_token_target, models)
    if not found:
        raise DataError(
            "no case that is left has a new object of one token for all of the models; leave "
            "`one_token_targets` out, or give another file or other models"
        )
    return found


def is_hard(request: EditRequest, tokenizer: Any) -> bool:
    """Whether the subject opens the prompt and is one token of a `tokenizers.Tokenizer`."""
    if request.subject_start != 0:
        return False
    spans = tokenizer.encode(request.text, add_special_tokens=False).offsets
    return bool(spans.count((0, len(request.subject))) == 1)


def is_normal(request: EditRequest, tokenizer: Any) -> bool:
    """Whether the case is not hard."""
    return not is_hard(request, tokenizer)


def is_early(request: EditRequest, tokenizer: Any) -> bool:
    """Whether the case is normal, and its subject ends at one of the first `EARLY` tokens."""
    last = _subject_position(request, tokenizer)
    return last is not None and last < EARLY and is_normal(request, tokenizer)


def is_late(request: EditRequest, tokenizer: Any) -> bool:
    """Whether the subject ends after the first `EARLY` tokens."""
    last = _subject_position(request, tokenizer)
    return last is not None and last >= EARLY


def _subject_position(request: EditRequest, tokenizer: Any) -> int | None:
    """The position of the subject's last token in the prompt; None if there is none."""
    if request.subject_start is None:
        return None
    end = request.subject_start + len(request.subject)
    spans = tokenizer.encode(request.text, add_special_tokens=False).offsets
    return max((n for n, (first, _) in enumerate(spans) if first < end), default=None)


def has_one_token_target(request: EditRequest, tokenizer: Any) -> bool:
    """Whether the new object adds one token to the prompt; as `continuation_ids` counts."""
    spaced = f" {request.target_new.lstrip(' ')}"
    before, both, alone = (
        tokenizer.encode(text, add_special_tokens=False).ids
        for text in (request.text, request.text + spaced, spaced)
    )
    added = both[len(before) :] if both[: len(before)] == before else alone
    return len(added) == 1


_Holds = Callable[[EditRequest, Any], bool]
KINDS: Mapping[Only, tuple[_Holds, str]] = {
    "hard": (is_hard, "has a subject that opens the prompt and is one token"),
    "normal": (is_normal, "has a subject that does not open the prompt, or is several tokens"),
    "early": (is_early, f"is not hard and has a subject that ends in the first {EARLY} tokens"),
    "late": (is_late, f"has a subject that ends after the first {EARLY} tokens of the prompt"),
}


def _true_for_all(
    requests: Sequence[EditRequest], holds: _Holds, models: Sequence[ModelSpec]
) -> list[EditRequest]:
    tokenizers = [_tokenizer(model) for model in models]
    return [
        request
        for request in requests
        if not request.flaw and all(holds(request, each) for each in tokenizers)
    ]


def _tokenizer(model: ModelSpec) -> Any:
    file = preflight.tokenizer_file(model.source, model.revision)
    if file is None:
        raise TokenizerMissing(
            f"which cases are chosen depends on the tokenizer, and {model.source} has no "
            "tokenizer.json on this machine; `snakemake fetch` gets that of a hub id or of a .gguf "
            "file, and save_pretrained writes one"
        )
    return _read(file)


def _read(file: Path) -> Any:
    # Imported late: only studies that choose cases need it.
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises no narrower class
        raise ModelError(
            f"{file} contains no tokenizer ({in_one_line(error)}); save the model again"
        ) from error
