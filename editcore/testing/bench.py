"""An editor on one tiny model, for the tests of the suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from editcore.editing.editor import EditContext, Editor, EditResult
from editcore.editing.wrappers import EditorWrapper
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import pad_rows
from editcore.registry.hookspecs import EditorInfo
from editcore.requests import EditRequest
from editcore.testing.assertions import assert_same_delta
from editcore.testing.models import tiny_requests
from editcore.updates.change import Change
from editcore.updates.delta import Delta

TEMPLATES = ("{}", "Therefore. {}", "I think that it was not. {}")


def _again(editor: Editor[Any]) -> Editor[Any]:
    if isinstance(editor, EditorWrapper):
        return type(editor)(_again(editor.inner), editor.options)
    return type(editor)(editor.config)


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

    def editor_again(self) -> Editor[Any]:
        """Another editor of the same class and options, in the same wrappers."""
        return _again(self.editor)

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
            assert_same_delta(found, expected, tolerance=tolerance)
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
