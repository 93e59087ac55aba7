"""A plan follows what options require, and does not guess from their names."""

from collections.abc import Iterator

import pytest

from editcore.config.options import EditorConfig, Keys, Moments, Requirement, Spectrum
from editcore.config.study import parse
from editcore.errors import PluginError
from editcore.planning import paths
from editcore.planning.planner import plan
from editcore.planning.study import Study
from editcore.registry.hookspecs import EditorInfo, KeyStrategyInfo, hookimpl
from editcore.registry.registry import Candidate, load_registry
from tests.studies import PlainPlugin, study_config


class Greedy(EditorConfig):
    """Requires two key strategies."""

    def requires(self) -> tuple[Requirement, ...]:
        return (Keys("even"), Keys("odd"))


class Namesake(EditorConfig):
    """Has an option named as in other editors, but requires no key strategy."""

    key_strategy: str = "anything"


class Keyed(EditorConfig):
    """Requires a third party's key strategy, through an option with a name of its own."""

    way: str = "odd"

    def requires(self) -> tuple[Requirement, ...]:
        return (Keys(self.way),)


class Spectral(EditorConfig):
    """Requires C at three layers, and its spectrum at one that it names twice and at another."""

    def requires(self) -> tuple[Requirement, ...]:
        return (Moments(0), Spectrum(2), Spectrum(1), Spectrum(2))


class MorePlugin:
    """A plugin with these editors."""

    EDITCORE_HOOKSPEC = 2

    @hookimpl
    def editcore_editors(self) -> Iterator[EditorInfo]:
        for kind in (Greedy, Namesake, Keyed, Spectral):
            yield EditorInfo(kind.__name__.lower(), "", "", kind, "nowhere:Editor")

    @hookimpl
    def editcore_key_strategies(self) -> Iterator[KeyStrategyInfo]:
        yield KeyStrategyInfo("odd", "", "", "nowhere:odd")


pytestmark = pytest.mark.usefixtures("place")


def planned(editor: str) -> Study:
    plugins = (
        Candidate("plain", "editcore-plain", "1.2", PlainPlugin),
        Candidate("more", "editcore-more", "0.1", MorePlugin),
    )
    config = parse(study_config(editors={editor: {}}), "study.yaml")
    return plan(config, "study.yaml", load_registry(plugins))


def test_an_option_called_key_strategy_is_left_to_the_editor() -> None:
    job = next(iter(planned("namesake").edits.values()))
    assert job.editor.options == {"key_strategy": "anything"}
    assert job.editor.key_code == {}


def test_a_required_key_strategy_is_in_the_job_by_its_code_whatever_its_option_is_called() -> None:
    job = next(iter(planned("keyed").edits.values()))
    assert list(job.editor.key_code) == ["odd"]


def test_two_key_strategies_in_one_edit_are_refused() -> None:
    with pytest.raises(PluginError, match="requires 2 key strategies, and an edit has one"):
        planned("greedy")


def test_a_spectrum_is_planned_from_the_second_moments_of_its_layers() -> None:
    study = planned("spectral")
    (moments,), (job,) = study.moments.values(), study.spectra.values()
    assert moments.layers == (0, 1, 2)
    assert job.moments == {layer: moments.files[layer] for layer in (1, 2)}
    edit = next(iter(study.edits.values()))
    assert edit.spectra == job.files
    assert set(job.files.values()) < set(edit.artefacts)
    folders = {str(paths.moments(*moments.key)), str(paths.spectra(*job.key))}
    assert folders < set(study.edits_inputs(*edit.key))
    assert study.spectra_inputs(*job.key) == [str(paths.moments(*moments.key))]


def test_jobs_of_editors_that_need_no_spectrum_keep_their_bytes() -> None:
    study = planned("keyed")
    assert study.spectra == {}
    assert all("spectra" not in job.as_json() for job in study.edits.values())
