"""The cases that a study edits: of each data set, hard or normal ones, a half, the first.

A case is hard for a model if its subject opens the prompt and is one token.
"""

import random
from collections.abc import Collection, Sequence
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
    if choice.only is not None:
        with at(path):
            requests = chosen(requests, choice.only, edited)
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


def chosen(
    requests: Sequence[EditRequest], only: Only, models: Sequence[ModelSpec]
) -> list[EditRequest]:
    """The cases that are hard for every model, or for none; flawed requests are left out.

    Raises `TokenizerMissing` if a model's tokenizer is not on this machine, `ModelError` if it
    cannot be read, and `DataError` if no case is left.
    """
    tokenizers = [_tokenizer(model) for model in models]
    sound = [request for request in requests if not request.flaw]
    verdicts = [{is_hard(request, each) for each in tokenizers} for request in sound]
    wanted = {only == "hard"}
    found = [r for r, verdict in zip(sound, verdicts, strict=True) if verdict == wanted]
    if not found:
        whose = "every model" if only == "hard" else "no model"
        raise DataError(
            f"no case is hard for {whose}, that is, has a subject that opens the prompt and is one "
            f"token; leave `only: {only}` out, or give another file or other models"
        )
    return found


def is_hard(request: EditRequest, tokenizer: Any) -> bool:
    """Whether the subject opens the prompt and is one token of a `tokenizers.Tokenizer`."""
    if request.subject_start != 0:
        return False
    spans = tokenizer.encode(request.text, add_special_tokens=False).offsets
    return bool(spans.count((0, len(request.subject))) == 1)


def _tokenizer(model: ModelSpec) -> Any:
    file = preflight.tokenizer_file(model.source, model.revision)
    if file is None:
        raise TokenizerMissing(
            f"which cases are hard depends on the tokenizer, and {model.source} has no "
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
