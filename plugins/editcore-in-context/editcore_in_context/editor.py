"""The editors: each fact is added to the memory, from which the patch is made."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

from editcore import EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import LoadedModel
from editcore_in_context.config import InContextConfig, PromptedConfig, RetrievalConfig
from editcore_in_context.facts import Fact, Facts, Tokens, as_tensors, from_tensors, remembered
from editcore_in_context.nearness import Index
from editcore_in_context.patch import ContextPatch, InContextPatch, RetrievalPatch

ConfigT = TypeVar("ConfigT", bound=PromptedConfig)


class PromptedEditor(Editor[ConfigT]):
    """An editor whose state is the edited facts in tokens."""

    def start(self, context: EditContext) -> Facts:
        """No facts."""
        return ()

    def save_state(self, state: Any) -> Mapping[str, Tensor]:
        """The facts as tensors."""
        return {} if state is None else as_tensors(state)

    def load_state(self, context: EditContext, tensors: Mapping[str, Tensor]) -> Any:
        """The facts that were saved."""
        return from_tensors(tensors) if tensors else None

    @abstractmethod
    def patch_of(self, context: EditContext, state: Any) -> ContextPatch:
        """The patch that puts the facts before prompts."""

    def kept(self, facts: Facts) -> Facts:
        """The facts that the memory keeps."""
        return facts

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Add the facts in their order; `RequestError` if the text before a prompt gets too long.

        A fact whose prompt was edited before replaces the older one.
        """
        if not requests:
            raise RequestError("there is nothing to edit; give at least one request")
        facts = remembered(state or (), [self._fact(context.model, r) for r in requests])
        facts = self.kept(facts)
        patch = self.patch_of(context, facts)
        longest = max(map(len, patch.texts()))
        if longest >= (most := context.model.max_positions):
            raise RequestError(
                f"the facts before a prompt take {longest} tokens, and the model has {most} "
                "positions, which the prompt needs too; keep fewer facts, or shorten them"
            )
        diagnostics = {"facts": float(len(facts)), "longest_text": float(longest)}
        return EditResult(patch=patch, state=facts, diagnostics=diagnostics)

    def _fact(self, model: LoadedModel, request: EditRequest) -> Fact:
        prompt, target = request.turn.said(request.text), request.target_new
        for name, text in (("prompt", prompt), ("target", target)):
            if not text.strip():
                raise RequestError(f"the {name} {text!r} has no words; write some")
        line = self.config.written(prompt, target)
        return Fact(_tokens(model, prompt), _tokens(model, line))

    def _before(self, model: LoadedModel, facts: Sequence[Fact]) -> Tokens:
        """The text before a prompt, with some of the facts."""
        start = tuple(model.tokenizer("")["input_ids"])
        lines = (token for fact in facts for token in fact.line)
        return (*start, *lines, *_tokens(model, self.config.lead))


class InContextEditor(PromptedEditor[InContextConfig]):
    """All facts before each prompt."""

    def kept(self, facts: Facts) -> Facts:
        """The latest facts, as many as `memory`."""
        return facts if self.config.memory is None else facts[-self.config.memory :]

    def patch_of(self, context: EditContext, state: Any) -> InContextPatch:
        """The patch with one text of all facts; an empty text if there are none."""
        return InContextPatch(self._before(context.model, state) if state else ())


class RetrievalEditor(PromptedEditor[RetrievalConfig]):
    """The nearest fact before each prompt."""

    def patch_of(self, context: EditContext, state: Any) -> RetrievalPatch:
        """The patch with a text for each fact."""
        model, facts = context.model, state or ()
        prompts = [str(model.tokenizer.decode(fact.prompt)) for fact in facts]
        texts = [self._before(model, [fact]) for fact in facts]
        return RetrievalPatch(texts, Index.of(prompts), self.config.least, model.tokenizer)


def _tokens(model: LoadedModel, text: str) -> Tokens:
    return tuple(model.tokenizer(text, add_special_tokens=False)["input_ids"])
