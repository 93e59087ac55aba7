"""Requirements on every editor, as tests that a plugin's test class inherits."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError

from editcore.config.options import (
    Anchor,
    EditorConfig,
    Moments,
    Prefixes,
    Spectrum,
    Trained,
    WrappedOptions,
    needs,
)
from editcore.editing import norm_anchor
from editcore.editing.editor import EditContext, Editor
from editcore.editing.norm_anchor import NormAnchor
from editcore.editing.session import make_editor, resolved_key_strategy
from editcore.editing.wrappers import BoundWrapper, bind_wrappers, wrapped
from editcore.errors import RequestError
from editcore.evaluation import perplexity
from editcore.keyvalue.estimation import moment_accumulator
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.keyvalue.spectrum import MomentSpectrum
from editcore.keyvalue.value_search import find_values
from editcore.models.loading import LoadedModel, wrap_model
from editcore.planning.jobs import TransformSpec
from editcore.records.checkpoint import Checkpoint
from editcore.registry.hookspecs import EditorInfo
from editcore.registry.registry import load_registry
from editcore.requests import OK, EditRequest, Turn
from editcore.testing.bench import TEMPLATES, Bench, logits, texts_of_requests
from editcore.testing.models import KINDS, SENTENCES, tiny_facts, tiny_model, tiny_requests
from editcore.updates.delta import Delta, load_deltas, save_deltas

# The subject ends inside a token, so that no position in the prompt belongs to it alone.
MISPLACED = EditRequest(9, "{}al is made by", "Cor", "Osdor", "Elro")
CHAT = Turn("You said that ", "\nTherefore:\n", "")


class EditorConformance:
    """Inherit this in a class whose name begins with `Test`, and name the editor.

    `options` must contain the options that the editor needs on a model of three blocks of width 32;
    few steps keep the suite fast. An editor for some architectures only lists their names from
    `editcore.testing.KINDS` in `kinds`. `wrappers` are names and options of wrappers around it, the
    innermost first. `tolerance` is how much, relative to its norm, an edit made
    alone may differ from the same edit made among others: rounding differs between batch sizes.
    """

    editor: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    wrappers: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
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
        context = replace(context, anchors=cls._anchors(context, config))
        training = needs(config, Trained)
        return cls._trained(context, config, training[0]) if training else context

    @classmethod
    def _bound(cls) -> tuple[BoundWrapper, ...]:
        """The wrappers around the editor."""
        specs = [TransformSpec(uses=n, options=dict(given)) for n, given in cls.wrappers.items()]
        return bind_wrappers(specs, load_registry())

    @classmethod
    def _anchors(cls, context: EditContext, config: EditorConfig) -> dict[Anchor, NormAnchor]:
        """The norm anchors that the wrappers require, measured on the tiny requests."""
        asked = WrappedOptions(config, tuple(wrapper.options for wrapper in cls._bound()))
        found, requests = {}, tiny_requests()
        for need in needs(asked, Anchor):
            assert context.prefixes is not None
            templates = context.prefixes.last(need.options.sampled_templates)
            values = find_values(context.model, requests, templates, need.options)
            found[need] = norm_anchor.measure(context.model, requests, values, need.options)
        return found

    @classmethod
    def _made(cls, info: EditorInfo, config: EditorConfig) -> Editor[Any]:
        """The editor in its wrappers."""
        return wrapped(make_editor(info, config), cls._bound())

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
        return Bench.after_editing(info, cls._made(info, config), context)

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
            again = bench.editor_again()
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

    def test_facts_in_a_chat_are_edited(self, bench: Bench) -> None:
        """A chat is text before and after what a user says; on one kind of model."""
        if bench.model.name != self.kinds[0]:
            return
        requests = [request.in_turn(CHAT) for request in bench.requests]
        results = list(bench.editor.edit_each(bench.context, requests))
        assert [result.status for result in results] == [OK] * len(requests)
        assert all(result.change is not None and result.change.finite() for result in results)
        bench.assert_untouched()

    def test_a_sequence_continues_exactly_from_its_saved_state(self, bench: Bench) -> None:
        """The second edit is the same, bit by bit, if the state after the first was saved.

        A sequence of patches has no checkpoints if the editor cannot make a patch from its state.
        """
        if not bench.info.capabilities.sequential:
            return
        first, second, *_ = bench.requests
        result = bench.edit(first)
        if result.delta is None and bench.editor.patch_of(bench.context, result.state) is None:
            return
        saved = {n: t.clone() for n, t in bench.editor.save_state(result.state).items()}
        with result.delta.applied(bench.model.model) if result.delta else nullcontext():
            expected = bench.editor.edit(bench.context, [second], result.state)
            state = bench.editor_again().load_state(bench.context, saved)
            found = bench.editor.edit(bench.context, [second], state)
        assert expected.change is not None
        bench.assert_same(found.change, expected.change, tolerance=0)

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
