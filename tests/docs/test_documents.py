"""The code in the documentation works: it is extracted from the pages and run."""

import importlib
import json
import os
import runpy
import sys
import tomllib
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from editcore import EditContext, Editor, EditorConfig, EditResult
from editcore.cli import main
from editcore.config.study import EditorSection
from editcore.datasets.readers import read_requests
from editcore.evaluation.judges import Judged, choose
from editcore.evaluation.metrics import MetricInput, bind
from editcore.evaluation.metrics.posed import Posed
from editcore.evaluation.teacher_forcing import (
    Answer,
    CaseQuestions,
    ask,
    ask_edited,
    tokenize_questions,
)
from editcore.keyvalue.keys import SubjectKeys
from editcore.models.loading import wrap_model
from editcore.planning import paths
from editcore.registry.candidates import Candidate, installed
from editcore.registry.registry import Registry, load_registry, resolve_factory
from editcore.testing import Bench, EditorConformance
from editcore.testing.models import tiny_model, tiny_model_of_type, tiny_requests
from editcore.updates.delta import Delta, DenseUpdate
from tests.docs.pages import code, write_package
from tests.packages import install, run
from tests.registry.test_plugin_package import STUDY as THIRD_PARTY

PACKAGES = (
    "editcore_random",
    "editcore_steer",
    "editcore_silence",
    "editcore_doubt",
    "editcore_halfway",
    "editcore_truncate",
    "editcore_again",
    "editcore_olmo",
    "editcore_triples",
    "editcore_opening",
)


blocks = partial(code, "docs/writing-an-editor.md")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with every Python block in the file that its first line names."""
    write_package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [n for n in sys.modules if n.split(".")[0] in PACKAGES]:
        del sys.modules[name]


def registry_with(*modules: str) -> Registry:
    """A registry with what is installed and some of the page's packages."""
    extra = [Candidate(m, m, "0.1.0", partial(importlib.import_module, m)) for m in modules]
    return load_registry([*installed(), *extra])


def test_the_example_editor_changes_the_weight_by_the_size_asked_for(packages: Path) -> None:
    registry = registry_with("editcore_random")
    assert registry.failures == []
    record = registry.editors["random"].record
    editor = resolve_factory(record.factory)(record.config(layer=1, size=0.2))
    for kind in ("gpt2", "llama"):
        model = wrap_model(kind, *tiny_model(kind))
        weight = model.model.get_parameter(model.parts.down_weight(1))
        before = weight.detach().clone()
        delta = editor.edit(EditContext(model), tiny_requests()[:1]).delta
        with delta.applied(model.model):
            change = (weight - before).norm() / before.norm()
        assert change.item() == pytest.approx(0.2, rel=1e-4)
        assert torch.equal(weight, before)


def test_the_example_strategy_lies_between_the_two_keys(packages: Path) -> None:
    registry = registry_with("editcore_halfway")
    assert registry.failures == []
    strategy = resolve_factory(registry.key_strategies["halfway"].record.factory)
    keys = SubjectKeys(torch.randn(21, 8), torch.randn(21, 4))
    pair = strategy(keys)
    assert torch.equal(pair.direction, keys.mean)
    torch.testing.assert_close(pair.solve - keys.bare, keys.mean - pair.solve)


def test_the_example_transform_keeps_the_largest_direction(packages: Path) -> None:
    record = registry_with("editcore_truncate").transforms["truncate"].record
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    draw = torch.Generator().manual_seed(0)
    matrix, bias = torch.randn(32, 64, generator=draw), torch.randn(32, generator=draw)
    delta = Delta({"matrix": DenseUpdate(matrix), "bias": DenseUpdate(bias)})
    found = resolve_factory(record.factory)(delta, model, record.config(rank=1)).updates
    assert found["matrix"].norm() == pytest.approx(float(torch.linalg.matrix_norm(matrix, 2)))
    assert found["bias"] is delta.updates["bias"]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_example_patch_keeps_the_contract_and_favours_the_new_object(
    packages: Path, kind: str
) -> None:
    info = registry_with("editcore_steer").editors["steer"].record
    editor = resolve_factory(info.factory)(info.config(layer=2, size=5.0))
    bench = Bench.after_editing(info, editor, EditContext(wrap_model(kind, *tiny_model(kind))))
    suite = EditorConformance()
    suite.test_every_request_gives_a_finite_change(bench)
    suite.test_a_change_is_of_the_kind_announced(bench)
    suite.test_only_declared_layers_change(bench)
    suite.test_leaving_an_edit_restores_every_bit(bench)
    suite.test_measurements_can_begin_at_the_first_changed_block(bench)
    suite.test_a_request_alone_gives_what_it_gives_among_others(bench)
    suite.test_a_request_that_cannot_be_edited_is_a_status(bench)
    questions = CaseQuestions(bench.requests[0], "{}").rewrite(bench.requests[0].target_new)
    asked = tokenize_questions(bench.model, questions)
    ((before, after),) = ask_edited(bench.model, [asked], bench.changes[:1])
    assert after[questions[0]].log_probability > before[questions[0]].log_probability


def test_the_example_metric_counts_what_has_no_answer(packages: Path) -> None:
    (silence,) = bind(["silence"], registry_with("editcore_silence"))
    questions = CaseQuestions(tiny_requests()[2], "{}")
    asked = questions.neighbours()
    answers = [Answer((1,), (1,), -2.0), Answer((1,), (-1,), float("nan"))]
    given = MetricInput(questions, {}, dict(zip(asked, answers, strict=True)), nullcontext)
    assert silence(given) == {"silence": 0.5}


def test_the_example_metric_asks_a_question_of_its_own(packages: Path) -> None:
    (doubt,) = bind(["doubt"], registry_with("editcore_doubt"))
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    posed = Posed.to(model, CaseQuestions(tiny_requests()[0], "{}"), [doubt])
    (asked,) = {*posed.tokens.questions} - {*posed.questions.all()}
    assert asked.prompt == "I doubt that. Coral is made by"
    answers = ask(model, posed.tokens) | {asked: Answer((1, 2), (1, 9), -1.0)}
    assert doubt(MetricInput(posed.questions, {}, answers, nullcontext)) == {"doubted": 0.5}


def test_the_example_family_passes_the_suite(packages: Path) -> None:
    registry = registry_with("editcore_olmo")
    assert registry.failures == []
    example = runpy.run_path(str(packages / "tests" / "test_olmo.py"))["TestOlmo"]
    made = tiny_model_of_type(example.model_type, example.settings)
    model, suite = wrap_model("olmo", *made, registry=registry), example()
    tests = [name for name in dir(suite) if name.startswith("test_")]
    assert len(tests) > 4
    for name in tests:
        getattr(suite, name)(model)


def test_the_example_format_reads_triples_and_leaves_out_what_it_cannot_word(
    packages: Path, tmp_path: Path
) -> None:
    registry = registry_with("editcore_triples")
    assert registry.failures == []
    record = {"subject": "Coral", "relation": "maker", "object": "Osdor", "replaces": "Elro"}
    unworded, broken = record | {"relation": "colour"}, dict(list(record.items())[:3])
    file = tmp_path / "triples.json"
    file.write_text(json.dumps([unworded, record, broken]))
    for format in ("auto", "triples"):
        read, unread = read_requests(file, format, registry)
        assert (read.case_id, read.text, read.target_new) == (1, "Coral is made by", "Osdor")
        assert "the field 'replaces' is missing" in unread.flaw


def test_the_example_judge_reads_the_first_words_and_passes_the_suite(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registry_with("editcore_opening")
    assert registry.failures == []
    asked = Judged("Who makes Coral?", ("Osdor", "Velra Labs"), "They say it is velra labs now")
    for words, score in ((5, 0.0), (6, 1.0)):
        assert choose("opening", {"words": words}, registry).open()([asked]) == [score]
    monkeypatch.setenv("PYTHONPATH", str(packages), prepend=os.pathsep)
    example = runpy.run_path(str(packages / "tests" / "test_opening.py"))["TestOpening"]
    suite, chosen = example(), choose(example.judge, example.options, registry)
    tests = [name for name in dir(suite) if name.startswith("test_")]
    assert len(tests) > 3
    for name in tests:
        getattr(suite, name)(chosen)


class Constant(Editor[EditorConfig]):
    """Always the same change."""

    def edit(self, context: EditContext, requests: Any, state: Any = None) -> EditResult:
        name = context.model.parts.down_weight(2)
        shape = context.model.model.get_parameter(name).shape
        return EditResult(Delta({name: DenseUpdate(torch.ones(shape))}))


def test_the_example_wrapper_edits_in_rounds(packages: Path) -> None:
    record = registry_with("editcore_again").transforms["again"].record
    context = EditContext(wrap_model("llama", *tiny_model("llama")))
    wrap = resolve_factory(record.factory)
    for rounds in (1, 3):
        editor = wrap(Constant(EditorConfig()), record.config(rounds=rounds))
        for result in (editor.edit(context, []), *editor.edit_each(context, tiny_requests()[:1])):
            (update,) = result.delta.updates.values()
            assert torch.equal(update.dense(), torch.full(update.shape, float(rounds)))


def test_the_example_project_registers_its_module() -> None:
    (project,) = map(tomllib.loads, blocks("toml"))
    assert project["project"]["entry-points"]["editcore"] == {"random": "editcore_random"}


def test_the_example_studies_name_real_editors_and_options(packages: Path) -> None:
    registry = registry_with(*PACKAGES)
    for block in blocks("yaml"):
        study = yaml.safe_load(block)
        assert all(registry.metrics[name] for name in study.get("metrics", ()))
        for choice in study.get("datasets", {}).values():
            assert choice.get("format", "flat") in registry.dataset_formats
        for label, raw in study.get("editors", {}).items():
            choice = EditorSection.model_validate(raw)
            record = registry.editors[choice.uses or label].record
            assert record.config.model_validate(choice.options).edited_layers() == (2,)
            for step in choice.transforms:
                transform = registry.transforms[step.uses].record
                transform.config.model_validate(step.options)


@pytest.fixture
def project(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The page's project, built and installed: its folder, and where it is installed."""
    site = tmp_path_factory.mktemp("site")
    install(packages, site)
    return packages, site


def test_the_example_project_passes_its_tests(project: tuple[Path, Path]) -> None:
    folder, site = project
    # Two of the architectures are enough to see that the page's class collects the suite.
    options = ("-q", "-p", "no:cacheprovider", "-k", "gpt2 or llama")
    done = run(site, "pytest", *options, "tests", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 12, "the suite ran"


def command(*arguments: str) -> str:
    """What the command line prints; it must succeed."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_example_study_ends_in_verdicts(
    project: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, site = project
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(site)
    (text,) = (block for block in blocks("yaml") if "tiny-gpt2:" in block)
    study = yaml.safe_load(text) | {"perplexity": {"texts": 3}, "prefixes": {"lengths": [[3, 2]]}}
    for choice in study["datasets"].values():
        choice["limit"] = 2
    Path("random.yaml").write_text(yaml.safe_dump(study))
    command("plan", "random.yaml")
    names = ("tiny-gpt2", "random")
    job, out = paths.prefixes_job("tiny-gpt2"), paths.prefixes("tiny-gpt2")
    command("prefixes", "--job", str(job), "--out", str(out))
    for dataset in study["datasets"]:
        where = (*names, dataset, "000")
        job, rows, changes = (
            str(path(*where)) for path in (paths.edits_job, paths.edits, paths.deltas)
        )
        command("edit", "--job", job, "--out", rows, "--deltas", changes)
    command("summarise", "--study", str(paths.STUDY_FILE), "--out", "results/summary")
    runpy.run_path("verdicts.py")
    shown = capsys.readouterr().out
    assert "random" in shown
    assert "hard" in shown
    assert "normal" in shown


def test_the_readme_s_third_party_lines_are_those_that_a_test_runs() -> None:
    studies = map(yaml.safe_load, code("README.md", "yaml"))
    (shown,) = (study for study in studies if "codebook" in study["editors"])
    assert shown == {key: THIRD_PARTY[key] for key in shown}
