"""The options of the search for v* are declared once, and checked in job files as in studies."""

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from editcore.config.options import EditorConfig
from editcore.config.value_options import ClampNormFactor, ValueOptions, ValueSearchOptions
from editcore.errors import ConfigError
from editcore.planning import jobs
from editcore.planning.jobs import DatasetSpec, ModelSpec, ValueJob


class Searching(ValueSearchOptions, EditorConfig):
    """An editor that searches, with a bound of its own."""

    layer: int
    clamp_norm_factor: ClampNormFactor = 0.5


def test_an_editor_takes_the_search_whole_and_its_own_default_enters() -> None:
    options = Searching.model_validate({"layer": 3, "steps": 7}).search_at(3, "block")
    assert options == ValueOptions(layer=3, site="block", steps=7, clamp_norm_factor=0.5)


def test_every_option_has_a_default_and_a_description() -> None:
    for kind in (ValueSearchOptions, Searching):
        for name in ValueSearchOptions.model_fields:
            field = kind.model_fields[name]
            assert not field.is_required(), name
            assert field.description, name


OUTSIDE = [
    ("steps", 0),
    ("learning_rate", 0),
    ("weight_decay", -0.1),
    ("kl_factor", -0.1),
    ("clamp_norm_factor", 0),
    ("stop_loss", -0.1),
    ("agreement_steps", 0),
]


@pytest.mark.parametrize(("name", "value"), OUTSIDE)
def test_bounds_hold_for_editors_and_in_job_files(name: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=name):
        Searching.model_validate({"layer": 1, name: value})
    job = ValueJob(
        model=ModelSpec(name="m", source="m"),
        dataset=DatasetSpec(name="d", path="d"),
        shard=0,
        case_ids=(1,),
        prefixes="p",
        options=ValueOptions(layer=1),
    )
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(job.as_json())
    assert jobs.read(ValueJob, good) == job
    wrong = job.options.model_copy(update={name: value})
    bad.write_text(job.model_copy(update={"options": wrong}).as_json())
    with pytest.raises(ConfigError, match=f"options.{name}"):
        jobs.read(ValueJob, bad)


def test_a_layer_below_zero_is_refused_in_job_files() -> None:
    with pytest.raises(ValidationError, match="layer"):
        ValueOptions(layer=-1)


def test_the_order_of_the_options_which_names_the_folder_of_found_values_is_kept() -> None:
    text = ValueOptions(layer=5).model_dump_json()
    assert hashlib.sha256(text.encode()).hexdigest()[:8] == "72b43127"
