"""The patches: all facts before each prompt, or the nearest one."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from editcore import PluginError
from editcore.toolkit import Patch
from editcore_in_context.before import TextsBefore, body
from editcore_in_context.facts import Tokens
from editcore_in_context.nearness import Index


class ContextPatch(Patch):
    """A text before each row of every forward pass.

    The text begins with the model's start token, if its tokenizer writes one, and each row keeps
    its own. The model's output has the row's own tokens only.
    """

    first_layer: int | None = None

    @abstractmethod
    def texts(self) -> Sequence[Tokens]:
        """All texts that may be before a row."""

    @abstractmethod
    def chosen(self, ids: Tensor | None, mask: Tensor) -> Sequence[Tokens]:
        """The text before each row `[row, position]`, which may be empty."""

    def finite(self) -> bool:
        """True: the patch consists of tokens."""
        return True

    def check(self, model: nn.Module) -> None:
        """Raise `PluginError` if the model lacks one of the facts' tokens."""
        assert isinstance(model, PreTrainedModel)
        size = int(model.config.get_text_config().vocab_size)
        last = max((token for text in self.texts() for token in text), default=0)
        if last >= size:
            raise PluginError(
                f"the facts contain token {last}, and the model has {size}; use the model that "
                "they were edited in"
            )

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """A block in which the texts are before the rows of each pass.

        A KV cache that is filled inside contains the texts, and can be continued inside only.
        Inside, a pass raises `RequestError` if a text and a row exceed the model's positions, and
        `PluginError` for a cache or a mask of another kind than a `DynamicCache` and 0s and 1s.
        """
        assert isinstance(model, PreTrainedModel)
        entered = body(model)
        hooks = TextsBefore(entered, self.chosen)
        with (
            entered.register_forward_pre_hook(hooks, with_kwargs=True),
            entered.register_forward_hook(hooks.without_cache),
        ):
            yield


@dataclass(frozen=True)
class InContextPatch(ContextPatch):
    """The same text before every row."""

    text: Tokens

    def texts(self) -> Sequence[Tokens]:
        """See `ContextPatch.texts`."""
        return [self.text]

    def chosen(self, ids: Tensor | None, mask: Tensor) -> Sequence[Tokens]:
        """See `ContextPatch.chosen`."""
        return [self.text] * len(mask)


@dataclass(frozen=True)
class RetrievalPatch(ContextPatch):
    """Before each row, the line of the fact that is nearest to it, if it is near enough.

    What is compared with the facts is all real tokens of a row as its first pass reads it, since an
    edited model is not told where a prompt ends.
    """

    lines: Sequence[Tokens]
    index: Index
    least: float
    tokenizer: PreTrainedTokenizerBase

    def texts(self) -> Sequence[Tokens]:
        """See `ContextPatch.texts`."""
        return self.lines

    def chosen(self, ids: Tensor | None, mask: Tensor) -> Sequence[Tokens]:
        """See `ContextPatch.chosen`."""
        if ids is None:
            raise PluginError("retrieval compares words, so a pass needs input_ids")
        rows = (row[real].tolist() for row, real in zip(ids, mask.bool(), strict=True))
        found = (self.index.nearest(self._text(row), self.least) for row in rows)
        return [() if place is None else self.lines[place] for place in found]

    def _text(self, row: list[int]) -> str:
        return str(self.tokenizer.decode(row, skip_special_tokens=True))
