"""One poisoned case at every place of a shard, with every editor: the others' rows stay.

The model computes in float64 here, so that what remains is the rounding of v*, which is float32. In
a float32 model it is larger: Adam's first step has the size of the learning rate whatever the
gradient, so that a few numbers of v* turn around from one batch to another.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from editcore.config.value_options import ValueOptions
from editcore.datasets.readers import read_requests
from editcore.editing.diagnostics import from_json
from editcore.keyvalue.value import NONFINITE, Value
from editcore.keyvalue.value_search import find_values
from editcore.models.loading import LoadedModel
from editcore.planning import paths
from editcore.planning.planner import plan
from editcore.requests import OK
from editcore.runs import artefacts
from editcore.runs.edit import Shard
from tests.rows import CLOCKS
from tests.runs.test_poison import EDITORS, POISON, POISONS, SOUND, Record, folder, study
from tests.studies import write_json

__all__ = ["folder"]  # a fixture of that file

Row = dict[str, Any]
PLACES = range(len(SOUND) + 1)
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def shards(folder: Path) -> Mapping[str, Shard]:
    """A shard of every editor, loaded once; the editors search for v* themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        planned = plan(study(folder, SOUND, EDITORS, dtype="float64"), "study")
        for model, prefix_job in planned.prefixes.items():
            artefacts.write_prefixes(prefix_job, paths.prefixes(model))
        for (model, digest), moment_job in planned.moments.items():
            artefacts.write_moments(moment_job, paths.moments(model, digest))
        jobs = [job.model_copy(update={"values": ()}) for job in planned.edits.values()]
        return {job.editor.label: Shard.open(job) for job in jobs}


def edited(shard: Shard, records: Sequence[Record], folder: Path) -> dict[int, Row]:
    """The row of each record by its case, made and measured as in a study's shard."""
    requests = read_requests(write_json(folder / "facts.json", list(records)))
    given = replace(shard, requests=requests)
    return {row["case_id"]: row for row in given.rows.of(list(given.results()))}


def with_poison(poison: Record, place: int) -> list[Record]:
    return [*SOUND[:place], poison, *SOUND[place:]]


def halves(row: Row) -> tuple[Row, Row]:
    """What of a row every run gives: its numbers, those of its diagnostics too, and the rest."""
    row = {**row, **from_json(row["diagnostics"])}
    kept = {k: v for k, v in row.items() if k not in (*CLOCKS, "diagnostics")}
    numbers = {k: v for k, v in kept.items() if isinstance(v, float)}
    return numbers, {k: v for k, v in kept.items() if k not in numbers}


def same(found: Row, expected: Row, tolerance: float) -> None:
    (numbers, others), (known, known_others) = halves(found), halves(expected)
    assert others == known_others
    assert numbers == pytest.approx(known, rel=tolerance, abs=tolerance)


@pytest.fixture(scope="module")
def alone(
    shards: Mapping[str, Shard], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Mapping[int, Row]]:
    """By editor, the rows of the sound records without any other."""
    place = tmp_path_factory.mktemp("alone")
    return {name: edited(shard, SOUND, place) for name, shard in shards.items()}


@pytest.mark.parametrize("name", POISONS)
def test_a_poisoned_case_at_any_place_changes_no_other(
    shards: Mapping[str, Shard],
    alone: Mapping[str, Mapping[int, Row]],
    tmp_path: Path,
    name: str,
) -> None:
    poison, reason = POISONS[name]
    (request,) = read_requests(write_json(tmp_path / "one.json", [poison]))
    tolerance = 0 if request.flaw else ROUNDING  # no editor sees a flawed request
    for editor, shard in shards.items():
        for place in PLACES:
            rows = edited(shard, with_poison(poison, place), tmp_path)
            status = rows.pop(POISON["case_id"])["status"]
            assert (reason in status) if reason else status == OK, (editor, place, status)
            for case, expected in alone[editor].items():
                assert expected["status"] == OK
                same(rows[case], expected, tolerance)


@contextmanager
def without_numbers(model: LoadedModel, text: str) -> Iterator[None]:
    """The first token of a text has an embedding of NaN; the head keeps its numbers."""
    token = model.tokenizer(text)["input_ids"][0]
    embedding, head = model.model.get_input_embeddings().weight, model.model.lm_head.weight
    kept = embedding[token].clone()
    model.model.lm_head.weight = torch.nn.Parameter(head.clone(), requires_grad=False)
    embedding[token] = torch.nan
    yield
    embedding[token] = kept
    model.model.lm_head.weight = head


@pytest.mark.parametrize("editor", EDITORS)
def test_a_case_of_non_finite_numbers_changes_no_other(
    shards: Mapping[str, Shard], alone: Mapping[str, Mapping[int, Row]], tmp_path: Path, editor: str
) -> None:
    poison = POISON | {"subject": "§", "prompt": "§ is made by"}
    shard = shards[editor]
    for place in PLACES:
        with without_numbers(shard.session.context.model, "§"):
            rows = edited(shard, with_poison(poison, place), tmp_path)
        row = rows.pop(POISON["case_id"])
        if editor == "noop":  # there is an edit, of a model that predicts nothing here
            assert (row["status"], row["efficacy"]) == (OK, 0)
        else:
            assert "finite" in row["status"]
        for case, expected in alone[editor].items():
            same(rows[case], expected, ROUNDING)


def values(shard: Shard, records: Sequence[Record], folder: Path) -> dict[int, Value | str]:
    """v* of each record by its case, or why there is none."""
    requests = read_requests(write_json(folder / "facts.json", list(records)))
    context = shard.session.context
    assert context.prefixes is not None
    found = find_values(
        context.model, requests, context.prefixes.templates, ValueOptions(layer=1, steps=2)
    )
    return {request.case_id: value for request, value in zip(requests, found, strict=True)}


@pytest.mark.parametrize("name", [*POISONS, NONFINITE])
def test_a_poisoned_case_at_any_place_changes_no_other_s_value(
    shards: Mapping[str, Shard], tmp_path: Path, name: str
) -> None:
    shard = shards["rome"]
    expected = values(shard, SOUND, tmp_path)
    nonfinite = POISON | {"subject": "§", "prompt": "§ is made by"}
    poison, reason = POISONS.get(name, (nonfinite, NONFINITE))
    for place in PLACES:
        with without_numbers(shard.session.context.model, "§"):
            found = values(shard, with_poison(poison, place), tmp_path)
        own = found.pop(POISON["case_id"])
        if reason is None or name == "a paraphrase too long":  # no search reads paraphrases
            assert isinstance(own, Value)
        else:
            assert isinstance(own, str) and reason in own, own
        for case, value in expected.items():
            other = found[case]
            assert isinstance(value, Value) and isinstance(other, Value)
            assert other.steps == value.steps
            for mine, theirs in ((other.delta, value.delta), (other.initial, value.initial)):
                torch.testing.assert_close(mine, theirs, rtol=ROUNDING, atol=ROUNDING)
