"""The cases of a job, as its model is asked about them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from editcore.datasets.readers import read_cases
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import DatasetSpec
from editcore.registry.registry import Registry
from editcore.requests import EditRequest


def posed_cases(
    model: LoadedModel, dataset: DatasetSpec, case_ids: Sequence[int], registry: Registry
) -> list[EditRequest]:
    """The requests of a job, in the model's chat if it has one; raises as `read_cases` does."""
    return model.posed(read_cases(dataset.file, case_ids, registry))


def chat_of(model: LoadedModel) -> dict[str, Any]:
    """What the model's chat template puts around prompts, for a table's provenance, with its hash.

    Empty without a chat.
    """
    turn = model.turn
    return {"chat_template": {**asdict(turn), "hash": turn.hash}} if turn.hash else {}
