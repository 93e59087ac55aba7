"""An honest editor passes the suite, which finds each broken promise."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field

from editcore import Capabilities, EditContext, Editor, EditorConfig, EditorInfo, EditResult
from editcore.errors import RequestError
from editcore.models.loading import wrap_model
from editcore.models.tokenization import tokenize_prompt
from editcore.requests import EditRequest
from editcore.testing import (
    Bench,
    EditorConformance,
    assert_continues_from_file,
    assert_same_delta,
    tiny_context,
)
from editcore.testing.models import tiny_model
from editcore.updates.delta import Delta, DenseUpdate
from tests.patches import Noise

SUITE = EditorConformance()


class OneLayer(EditorConfig):
    layer: int = Field(1)

    def edited_layers(self) -> tuple[int, ...]:
        return (self.layer,)


class Honest(Editor[OneLayer]):
    """Adds noise, drawn from the seed and the case, to one weight."""

    def edit(self, context: EditContext, requests: Sequence[EditRequest], state: Any = None):
        if len(requests) != 1:
            raise RequestError("one at a time")
        tokenize_prompt(context.model.tokenizer, requests[0].prompt, requests[0].subject)
        return EditResult(self.change(context, requests[0].case_id + context.seed))

    def change(self, context: EditContext, seed: int) -> Delta:
        name = context.model.parts.down_weight(self.config.layer)
        generator = torch.Generator().manual_seed(seed)
        shape = context.model.model.get_parameter(name).shape
        return Delta({name: DenseUpdate(torch.randn(shape, generator=generator))})


class TouchesTheModel(Honest):
    def change(self, context, seed):
        context.model.model.get_parameter("model.norm.weight").mul_(2)
        return super().change(context, seed)


class LeavesAHook(Honest):
    def change(self, context, seed):
        context.model.parts.block(0).register_forward_hook(lambda *_: None)
        return super().change(context, seed)


class EditsElsewhere(Honest):
    def change(self, context, seed):
        (update,) = super().change(context, seed).updates.values()
        return Delta({context.model.parts.down_weight(2): update})


class DrawsFromTheGlobalGenerator(Honest):
    def change(self, context, seed):
        return super().change(context, int(torch.randint(1 << 30, ())))


class GivesInfinity(Honest):
    def change(self, context, seed):
        delta = super().change(context, seed)
        next(iter(delta.updates.values())).change[0, 0] = torch.inf
        return delta


class DependsOnItsNeighbours(Honest):
    def edit_each(self, context, requests):
        for place, _ in enumerate(requests):
            yield EditResult(self.change(context, 10 * len(requests) + place))


class EditsWhatCannotBePlaced(Honest):
    def edit_each(self, context, requests):
        for request in requests:
            yield EditResult(self.change(context, request.case_id + context.seed))


class StopsAtTheFirstError(Honest):
    def edit_each(self, context, requests):
        for request in requests:
            yield self.edit(context, [request])


class TakesSeveral(Honest):
    def edit(self, context, requests, state=None):
        return super().edit(context, requests[:1])


class MovesTheModelAlong(Honest):
    def edit(self, context, requests, state=None):
        if state is not None:
            context.model.parts.down(2).weight.add_(1)
        return EditResult(super().edit(context, requests).delta, state="edited")


class Counts(Honest):
    """Its noise depends on how many edits came before."""

    def edit(self, context, requests, state=None):
        number = int(state["edits"]) if state else 0
        return EditResult(self.change(context, number), state={"edits": torch.tensor(number + 1)})


class CountsFromTheStartAgain(Counts):
    def load_state(self, context, tensors):
        return {"edits": torch.tensor(0)}


class HonestPatch(Honest):
    """Its change is a patch."""

    def edit(self, context, requests, state=None):
        super().edit(context, requests)
        return EditResult(patch=self.patch(context, requests[0].case_id + context.seed))

    def patch(self, context: EditContext, seed: int) -> Noise:
        return Noise.at(context.model, self.config.layer, seed)


class BeginsTooLate(HonestPatch):
    def patch(self, context, seed):
        return replace(super().patch(context, seed), first_layer=2)


class StaysBehind(HonestPatch):
    def patch(self, context, seed):
        return Lasting(**vars(super().patch(context, seed)))


@dataclass(frozen=True)
class Lasting(Noise):
    @contextmanager
    def applied(self, model):
        module = model.get_submodule(self.path)
        module.register_forward_hook(lambda _, __, output: output + self.vector)
        yield


class GivesBoth(HonestPatch):
    def edit(self, context, requests, state=None):
        return replace(super().edit(context, requests), delta=self.change(context, 0))


class PatchFromTheGlobalGenerator(HonestPatch):
    def patch(self, context, seed):
        return super().patch(context, int(torch.randint(1 << 30, ())))


def bench_of(editor: type[Honest], **capabilities: bool) -> Bench:
    info = EditorInfo("mine", "", "", OneLayer, "", Capabilities(**capabilities))
    context = EditContext(wrap_model("llama", *tiny_model("llama")), seed=3)
    return Bench.after_editing(info, editor(OneLayer()), context)


CHECKS: dict[str, Callable[[Bench, Path], None]] = {
    "kind": lambda bench, _: SUITE.test_a_change_is_of_the_kind_announced(bench),
    "resumed": lambda bench, _: SUITE.test_measurements_can_begin_at_the_first_changed_block(bench),
    "finite": lambda bench, _: SUITE.test_every_request_gives_a_finite_change(bench),
    "left": lambda bench, _: SUITE.test_the_model_is_left_as_it_was(bench),
    "declared": lambda bench, _: SUITE.test_only_declared_layers_change(bench),
    "reverted": lambda bench, _: SUITE.test_leaving_an_edit_restores_every_bit(bench),
    "saved": lambda bench, path: SUITE.test_a_saved_edit_is_the_same(bench, path),
    "seeded": lambda bench, _: SUITE.test_the_seed_decides(bench),
    "alone": lambda bench, _: SUITE.test_a_request_alone_gives_what_it_gives_among_others(bench),
    "status": lambda bench, _: SUITE.test_a_request_that_cannot_be_edited_is_a_status(bench),
    "several": lambda bench, _: SUITE.test_several_requests_are_edited_together_or_refused(bench),
    "sequential": lambda bench, _: SUITE.test_an_edited_model_can_be_edited_again(bench),
}


@pytest.mark.parametrize("check", CHECKS)
def test_an_honest_editor_passes(check: str, tmp_path: Path) -> None:
    CHECKS[check](bench_of(Honest), tmp_path)
    CHECKS[check](bench_of(HonestPatch, changes_weights=False), tmp_path)


@pytest.mark.parametrize(
    ("editor", "check"),
    [
        (Honest, "kind"),
        (GivesBoth, "kind"),
        (BeginsTooLate, "declared"),
        (BeginsTooLate, "resumed"),
        (StaysBehind, "reverted"),
        (PatchFromTheGlobalGenerator, "seeded"),
    ],
)
def test_a_broken_promise_of_a_patch_is_found(
    editor: type[Honest], check: str, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](bench_of(editor, changes_weights=False), tmp_path)


@pytest.mark.parametrize(
    ("editor", "check"),
    [
        (GivesInfinity, "finite"),
        (HonestPatch, "kind"),
        (TouchesTheModel, "left"),
        (TouchesTheModel, "reverted"),
        (LeavesAHook, "left"),
        (EditsElsewhere, "declared"),
        (DrawsFromTheGlobalGenerator, "seeded"),
        (DependsOnItsNeighbours, "alone"),
        (EditsWhatCannotBePlaced, "status"),
        (StopsAtTheFirstError, "status"),
    ],
)
def test_a_broken_promise_is_found(editor: type[Honest], check: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, RequestError)):
        CHECKS[check](bench_of(editor), tmp_path)


def test_capabilities_are_taken_at_their_word(tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        CHECKS["several"](bench_of(Honest, batched=True), tmp_path)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        CHECKS["several"](bench_of(TakesSeveral), tmp_path)
    with pytest.raises(AssertionError):
        CHECKS["sequential"](bench_of(MovesTheModelAlong), tmp_path)


def test_a_sequence_that_forgets_its_saved_state_is_found(tmp_path: Path) -> None:
    assert_continues_from_file(Counts(OneLayer()), tiny_context(), tmp_path / "state")
    with pytest.raises(AssertionError):
        assert_continues_from_file(
            CountsFromTheStartAgain(OneLayer()), tiny_context(), tmp_path / "state"
        )


@pytest.mark.parametrize("other", [{"a": 1.1}, {"a": 1.0, "b": 1.0}, {"b": 1.0}])
def test_deltas_that_differ_by_more_than_the_tolerance_are_found(other: dict[str, float]) -> None:
    def delta(sizes: dict[str, float]) -> Delta:
        return Delta({name: DenseUpdate(size * torch.eye(2)) for name, size in sizes.items()})

    assert_same_delta(delta({"a": 1.1}), delta({"a": 1.0}), tolerance=0.2)
    with pytest.raises(AssertionError):
        assert_same_delta(delta(other), delta({"a": 1.0}), tolerance=0.01)


def test_the_library_imports_no_tests() -> None:
    code = "import sys, editcore, editcore.cli; sys.exit('editcore.testing' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
