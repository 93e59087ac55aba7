"""Requirements on every editor, as tests that a plugin's test class inherits."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError

from editcore.config.options import EditorConfig, Moments, Prefixes, Spectrum, Trained, needs
from editcore.editing.editor import EditContext, Editor, EditResult
from editcore.editing.session import make_editor, resolved_key_strategy
from editcore.errors import RequestError
from editcore.evaluation import perplexity
from editcore.keyvalue import moment_accumulator
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.keyvalue.spectrum import MomentSpectrum
from editcore.models.loading import LoadedModel, wrap_model
from editcore.models.tokenization import pad_rows
from editcore.records.checkpoint import Checkpoint
from editcore.registry.hookspecs import EditorInfo
from editcore.registry.registry import load_registry
from editcore.requests import OK, EditRequest
from editcore.testing.models import KINDS, SENTENCES, tiny_facts, tiny_model, tiny_requests
from editcore.updates.change import Change
from editcore.updates.delta import Delta, load_deltas, save_deltas

TEMPLATES = ("{}", "Therefore. {}", "I think that it was not. {}")
# The subject ends inside a token, so that no position in the prompt belongs to it alone.
MISPLACED = EditRequest(9, "{}al is made by", "Cor", "Osdor", "Elro")


def _hooks(model: torch.nn.Module) -> list[int]:
    """The number of hooks of each module."""
    return [
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.modules()
    ]


@dataclass(frozen=True)
class Bench:
    """An editor on one tiny model: its result for each request, and the weights before."""

    info: EditorInfo
    editor: Editor[Any]
    context: EditContext
    requests: Sequence[EditRequest]
    results: Sequence[EditResult]
    weights: Mapping[str, torch.Tensor]
    hooks: Sequence[int]
    unedited: torch.Tensor

    @classmethod
    def after_editing(cls, info: EditorInfo, editor: Editor[Any], context: EditContext) -> "Bench":
        """A bench whose editor has made each of three requests separately."""
        weights = {n: t.clone() for n, t in context.model.model.state_dict().items()}
        requests, unedited = tiny_requests(), logits(context.model)
        hooks = _hooks(context.model.model)
        results = list(editor.edit_each(context, requests))
        return cls(info, editor, context, requests, results, weights, hooks, unedited)

    @property
    def model(self) -> LoadedModel:
        """The model that was edited."""
        return self.context.model

    @property
    def changes(self) -> list[Change]:
        """The weight changes or patches, by request."""
        return [result.change for result in self.results if result.change is not None]

    @property
    def deltas(self) -> list[Delta]:
        """The weight changes among them."""
        return [change for change in self.changes if isinstance(change, Delta)]

    def edit(self, *requests: EditRequest) -> EditResult:
        """Edit all `requests` together, as the first edit of a sequence."""
        return self.editor.edit(self.context, requests, self.editor.start(self.context))

    def changed(self) -> list[str]:
        """The parameters and buffers whose bits differ from those before any edit."""
        now = self.model.model.state_dict()
        return [name for name, before in self.weights.items() if not torch.equal(now[name], before)]

    def assert_untouched(self) -> None:
        """Assert that no weight changed and no gradient, hook or replaced method remains."""
        assert self.changed() == []
        assert not any(p.requires_grad for p in self.model.model.parameters())
        assert _hooks(self.model.model) == self.hooks
        for name, module in self.model.model.named_modules():
            assert "forward" not in vars(module), name
            assert not module.training, name
        assert torch.equal(logits(self.model), self.unedited)

    def assert_same(self, found: Change | None, expected: Change, *, tolerance: float) -> None:
        """Assert that two changes are equal within `tolerance`, relative to their size.

        Size is the norm of each parameter's change, or for a patch, how much it changes the logits.
        """
        assert found is not None
        if isinstance(expected, Delta):
            assert isinstance(found, Delta)
            _assert_same_updates(found, expected, tolerance)
            return
        with expected.applied(self.model.model):
            wanted = logits(self.model)
        with found.applied(self.model.model):
            difference = float((logits(self.model) - wanted).norm())
        assert difference <= tolerance * float((wanted - self.unedited).norm())


def texts_of_requests() -> list[str]:
    """The requests' prompts, with every template."""
    return [template.format(r.text) for r in tiny_requests() for template in TEMPLATES]


@torch.no_grad()
def logits(model: LoadedModel, texts: Sequence[str] | None = None) -> torch.Tensor:
    """The model's logits at every token of `texts`, by default the requests' prompts."""
    prompts = texts_of_requests() if texts is None else texts
    rows = pad_rows(
        [model.tokenizer(p)["input_ids"] for p in prompts], model.pad_id, "right", model.device
    )
    found: torch.Tensor = model.model(input_ids=rows.ids, attention_mask=rows.mask).logits
    return found[rows.mask.bool()]


class EditorConformance:
    """Inherit this in a class whose name begins with `Test`, and name the editor.

    `options` must contain the options that the editor needs on a model of three blocks of width 32;
    few steps keep the suite fast. An editor for some architectures only lists their names from
    `editcore.testing.KINDS` in `kinds`. `tolerance` is how much, relative to its norm, an edit made
    alone may differ from the same edit made among others: rounding differs between batch sizes.
    """

    editor: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    kinds: ClassVar[Sequence[str]] = KINDS
    tolerance: ClassVar[float] = 1e-3

    @classmethod
    def context(cls, model: LoadedModel, config: EditorConfig) -> EditContext:
        """The artefacts that the options require, made from tiny texts; may be overridden.

        Editors are trained on `tiny_facts`; few steps keep this fast.
        """
        decomposed = {need.layer for need in needs(config, Spectrum)}
        layers = sorted({need.layer for need in needs(config, Moments)} | decomposed)
        moments = (
            moment_accumulator.measure_moments(model, layers, SENTENCES, tokens=500)
            if layers
            else {}
        )
        context = EditContext(
            model,
            ContextPrefixes(TEMPLATES, model.name, 0) if needs(config, Prefixes) else None,
            moments,
            seed=3,
            key_strategy=resolved_key_strategy(config, load_registry()),
            spectra={layer: MomentSpectrum.of(moments[layer]) for layer in decomposed},
        )
        training = needs(config, Trained)
        return cls._trained(context, config, training[0]) if training else context

    @classmethod
    def _trained(cls, context: EditContext, config: EditorConfig, need: Trained) -> EditContext:
        """The context with a trained part, each of whose data files is the tiny facts."""
        editor = make_editor(load_registry().editors[cls.editor].record, config)
        with tempfile.TemporaryDirectory() as folder:
            facts = Path(folder) / "facts.json"
            facts.write_text(json.dumps(tiny_facts()), encoding="utf-8")
            unused = Checkpoint(Path(folder) / "checkpoint.safetensors", "", float("inf"))
            learnt = editor.train(context, [facts for _ in need.data], unused)
        return replace(context, trained=learnt)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test with a `bench` on every kind of model."""
        if "kind" in metafunc.fixturenames:
            metafunc.parametrize("kind", self.kinds, scope="class")

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, kind: str) -> Bench:
        """The editor on a model of one kind, after it has edited three requests."""
        info = load_registry().editors[cls.editor].record
        config = info.config.model_validate(dict(cls.options))
        context = cls.context(wrap_model(kind, *tiny_model(kind)), config)
        return Bench.after_editing(info, make_editor(info, config), context)

    def test_options_survive_the_job_file(self) -> None:
        """Options are written as JSON; an unknown one is refused."""
        kind = load_registry().editors[self.editor].record.config
        config = kind.model_validate(dict(self.options))
        assert kind.model_validate(config.model_dump(mode="json")) == config
        with pytest.raises(ValidationError):
            kind.model_validate({**self.options, "no_such_option": 1})

    def test_a_study_is_planned_without_torch(self) -> None:
        """The plugin's module and its options import quickly."""
        module = load_registry().editors[self.editor].record.config.__module__
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr or f"{module} imports torch"

    def test_every_request_gives_a_finite_change(self, bench: Bench) -> None:
        """One result per request, in order, each with a change."""
        assert [result.status for result in bench.results] == [OK] * len(bench.requests)
        assert len(bench.changes) == len(bench.requests)
        assert all(change.finite() for change in bench.changes)

    def test_a_change_is_of_the_kind_announced(self, bench: Bench) -> None:
        """Either a weight change or a patch, according to `changes_weights`."""
        kind = bench.info.capabilities.changes_weights
        assert [result.delta is not None for result in bench.results] == [kind] * len(bench.results)
        assert [result.patch is None for result in bench.results] == [kind] * len(bench.results)

    def test_the_model_is_left_as_it_was(self, bench: Bench) -> None:
        """Making edits does not change it."""
        bench.assert_untouched()

    def test_only_declared_layers_change(self, bench: Bench) -> None:
        """Every parameter of a delta is in one of the options' `edited_layers`.

        So is the first layer of a patch, if the options declare any.
        """
        declared = bench.editor.config.edited_layers()
        for change in bench.changes:
            if declared or isinstance(change, Delta):
                assert set(change.places(bench.model.parts).values()) <= set(declared)

    def test_leaving_an_edit_restores_every_bit(self, bench: Bench) -> None:
        """Inside, only the parameters that a delta names are changed.

        An exception inside makes no difference.
        """
        for change in bench.changes:
            updates = change.updates if isinstance(change, Delta) else {}
            named = {name for name, update in updates.items() if update.norm() > 0}
            with change.applied(bench.model.model):
                assert set(bench.changed()) == named
            bench.assert_untouched()
            with suppress(_Raised), change.applied(bench.model.model):
                raise _Raised
            bench.assert_untouched()

    def test_measurements_can_begin_at_the_first_changed_block(self, bench: Bench) -> None:
        """The states before it are those of the unedited model."""
        texts = perplexity.tokenize(bench.model, SENTENCES[:3])
        measured = perplexity.EditedPerplexity(bench.model, texts).of(bench.changes)
        for change, found in zip(bench.changes, measured, strict=True):
            with change.applied(bench.model.model):
                plain = perplexity.measure(bench.model, texts)
            torch.testing.assert_close(found.nll, plain.nll, rtol=1e-4, atol=1e-4)
        bench.assert_untouched()

    def test_a_saved_edit_is_the_same(self, bench: Bench, tmp_path: Path) -> None:
        """Through the file, bit by bit."""
        if not bench.info.capabilities.changes_weights:
            return
        written = dict(enumerate(bench.deltas))
        save_deltas(written, tmp_path / "deltas.safetensors", {})
        read = load_deltas(tmp_path / "deltas.safetensors")
        assert read.keys() == written.keys()
        for case, delta in written.items():
            bench.assert_same(read[case], delta, tolerance=0)

    def test_a_patch_survives_save_and_load(self, bench: Bench) -> None:
        """The state that was saved gives it again, if the editor can make it from its state."""
        for request, expected in zip(bench.requests, bench.changes, strict=True):
            state = bench.edit(request).state
            if isinstance(expected, Delta) or bench.editor.patch_of(bench.context, state) is None:
                return
            restored = bench.editor.load_state(bench.context, bench.editor.save_state(state))
            again = bench.editor.patch_of(bench.context, restored)
            bench.assert_same(again, bench.edit(request).change or expected, tolerance=0)

    def test_padding_does_not_change_what_a_patched_model_gives(self, bench: Bench) -> None:
        """Each row of a padded batch gives the logits that it gives alone."""
        for change in bench.changes:
            if isinstance(change, Delta):
                return
            with change.applied(bench.model.model):
                together = logits(bench.model)
                alone = torch.cat([logits(bench.model, [text]) for text in texts_of_requests()])
            torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)

    def test_the_seed_decides(self, bench: Bench) -> None:
        """The same context gives the same bits, whatever the state of torch's own generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(12345)
            again = type(bench.editor)(bench.editor.config)
            results = again.edit_each(bench.context, bench.requests)
            for result, expected in zip(results, bench.changes, strict=True):
                bench.assert_same(result.change, expected, tolerance=0)

    def test_a_request_alone_gives_what_it_gives_among_others(self, bench: Bench) -> None:
        """`edit` of one and `edit_each` of all agree within `tolerance`."""
        for request, expected in zip(bench.requests, bench.changes, strict=True):
            bench.assert_same(bench.edit(request).change, expected, tolerance=self.tolerance)

    def test_a_request_that_cannot_be_edited_is_a_status(self, bench: Bench) -> None:
        """The others give the same results as without it."""
        first, second, *_ = bench.requests
        results = list(bench.editor.edit_each(bench.context, [first, MISPLACED, second]))
        assert len(results) == 3
        if bench.info.capabilities.needs_subject:
            assert results[1].change is None
            assert results[1].status not in (OK, "")
        for result, expected in zip((results[0], results[2]), bench.changes[:2], strict=True):
            bench.assert_same(result.change, expected, tolerance=self.tolerance)

    def test_a_fact_without_a_subject_is_edited_by_an_editor_that_needs_none(
        self, bench: Bench
    ) -> None:
        """The text is the same, so the change is that of the fact with its subject marked."""
        if bench.info.capabilities.needs_subject:
            return
        unmarked = replace(bench.requests[0], prompt=bench.requests[0].text, subject="")
        result = bench.edit(unmarked)
        assert result.status == OK
        bench.assert_same(result.change, bench.changes[0], tolerance=self.tolerance)

    def test_several_requests_are_edited_together_or_refused(self, bench: Bench) -> None:
        """According to the capability `batched`."""
        if bench.info.capabilities.batched:
            result = bench.edit(*bench.requests)
            assert result.status == OK
            assert result.change is not None and result.change.finite()
        else:
            with pytest.raises(RequestError):
                bench.edit(*bench.requests)
        assert bench.changed() == []

    def test_an_edited_model_can_be_edited_again(self, bench: Bench) -> None:
        """According to the capability `sequential`, with the state passed on.

        A weight change is in place while the next is made; the newest patch contains all earlier
        ones.
        """
        if not bench.info.capabilities.sequential:
            return
        first, second, *_ = bench.requests
        result = bench.edit(first)
        assert result.change is not None
        with result.delta.applied(bench.model.model) if result.delta else nullcontext():
            edited = {n: t.clone() for n, t in bench.model.model.state_dict().items()}
            following = bench.editor.edit(bench.context, [second], result.state)
            now = bench.model.model.state_dict()
            assert [name for name in edited if not torch.equal(now[name], edited[name])] == []
        assert following.status == OK
        assert following.change is not None and following.change.finite()
        bench.assert_untouched()


class _Raised(Exception):
    """Ends a block early."""


def _assert_same_updates(found: Delta, expected: Delta, tolerance: float) -> None:
    """Both change the same parameters, and differ by at most `tolerance` relative to their norm."""
    assert found.updates.keys() == expected.updates.keys()
    for name, update in expected.updates.items():
        difference = float((found.updates[name].dense() - update.dense()).double().norm())
        assert difference <= tolerance * update.norm(), name
