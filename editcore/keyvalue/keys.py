"""A subject's keys under every template, and the strategies that choose among them.

The key k is the input of the down-projection at the subject's last token; with the bare prompt it
is kᵘ, and k̄ is its mean over the templates (Meng et al. 2022, eq. 3; "The Fall of ROME", eq. 4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from editcore.models import hooks
from editcore.models.batch_size import in_halves, tokens_per_pass
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import (
    TokenizedPrompt,
    bucket_by_length,
    pad_rows,
    tokenize_prompt,
)
from editcore.requests import EditRequest


@dataclass(frozen=True)
class SubjectKeys:
    """A subject's keys, and the down-projection's outputs at them, with its bias if it has one.

    Both are float32 in any model; row 0 is the bare prompt's.
    """

    keys: Float32[Tensor, "template d_key"]
    outputs: Float32[Tensor, "template d_model"]

    @property
    def bare(self) -> Float32[Tensor, " d_key"]:
        """kᵘ."""
        return self.keys[0]

    @property
    def mean(self) -> Float32[Tensor, " d_key"]:
        """k̄: the mean over all templates, including the bare prompt."""
        return self.keys.mean(0)


@dataclass(frozen=True)
class KeyPair:
    """The keys of Δ = (v* − W k_s)(C⁻¹k_u)ᵀ / ((C⁻¹k_u)ᵀk_s), and the model's own W k_s."""

    direction: Float[Tensor, " d_key"]
    solve: Float[Tensor, " d_key"]
    solve_output: Float[Tensor, " d_model"]


KeyStrategy = Callable[[SubjectKeys], KeyPair]
"""Chooses the two keys of a rank-one update from those of a subject."""


def mixed(keys: SubjectKeys) -> KeyPair:
    """k̄ gives the direction and kᵘ the equation to solve: ROME as released."""
    return KeyPair(keys.mean, keys.bare, keys.outputs[0])


def prefixed(keys: SubjectKeys) -> KeyPair:
    """k̄ in both places: C-ROME ("The Fall of ROME", §4) and r-ROME."""
    return KeyPair(keys.mean, keys.mean, keys.outputs.mean(0))


def unprefixed(keys: SubjectKeys) -> KeyPair:
    """kᵘ in both places: p-ROME (Gupta et al. 2024)."""
    return KeyPair(keys.bare, keys.bare, keys.outputs[0])


def tokenize_templates(
    model: LoadedModel, request: EditRequest, templates: Sequence[str]
) -> list[TokenizedPrompt]:
    """The prompt in every template; `RequestError` if the subject has no last token of its own."""
    return [
        tokenize_prompt(
            model.tokenizer, request.in_context(template, request.prompt), request.subject
        )
        for template in templates
    ]


@torch.no_grad()
def collect_keys(
    model: LoadedModel, layer: int, prompts: Sequence[Sequence[TokenizedPrompt]]
) -> list[SubjectKeys]:
    """The keys of several cases, each under its templates, in passes that end at `layer`.

    They are the same for every strategy.
    """
    rows = [prompt.ids[: prompt.subject + 1] for case in prompts for prompt in case]
    batches = bucket_by_length([len(row) for row in rows], tokens_per_pass(model))

    def read(batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        return _at_the_end(model, layer, [rows[i] for i in batch])

    found = [pair for batch in batches for _, pair in in_halves(read, batch)]
    back = torch.tensor([i for batch in batches for i in batch]).argsort()
    sizes = [len(case) for case in prompts]
    keys, outputs = (torch.cat(part)[back].split(sizes) for part in zip(*found, strict=True))
    return [SubjectKeys(k, o) for k, o in zip(keys, outputs, strict=True)]


@torch.no_grad()
def keys_by_layer(
    model: LoadedModel, prompts: Sequence[Sequence[TokenizedPrompt]]
) -> list[Float32[Tensor, "layer template d_key"]]:
    """The keys of several cases at every layer, each under its templates; row 0 is the bare one.

    One pass over the blocks serves all layers. On the processor.
    """
    rows = [prompt.ids[: prompt.subject + 1] for case in prompts for prompt in case]
    batches = bucket_by_length([len(row) for row in rows], tokens_per_pass(model))

    def read(batch: Sequence[int]) -> Float32[Tensor, "layer row d_key"]:
        return _at_every_layer(model, [rows[i] for i in batch])

    found = [keys for batch in batches for _, keys in in_halves(read, batch)]
    back = torch.tensor([i for batch in batches for i in batch]).argsort()
    return list(torch.cat(found, 1)[:, back].split([len(case) for case in prompts], 1))


def _at_every_layer(
    model: LoadedModel, rows: Sequence[tuple[int, ...]]
) -> Float32[Tensor, "layer row d_key"]:
    """Key of every down-projection at the last token of every row, the others not kept."""
    padded = pad_rows(rows, model.pad_id, "right", model.device)
    last = torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])
    parts, found = model.parts, []

    def keep(down: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(hooks.by_row(down, inputs[0])[last].float().cpu())

    handles = [parts.down(i).register_forward_pre_hook(keep) for i in range(parts.depth)]
    try:
        model.model.base_model(input_ids=padded.ids, attention_mask=padded.mask, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(found)


def _at_the_end(
    model: LoadedModel, layer: int, rows: Sequence[tuple[int, ...]]
) -> tuple[Float32[Tensor, "row d_key"], Float32[Tensor, "row d_model"]]:
    """The down-projection's input (the key) and output at the last token of every row."""
    padded = pad_rows(rows, model.pad_id, "right", model.device)
    with hooks.recording(model.parts.down(layer), stop=True) as seen:
        model.model(input_ids=padded.ids, attention_mask=padded.mask, use_cache=False)
    assert seen.input is not None and seen.output is not None
    last = torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])
    return seen.input[last].float(), seen.output[last].float()
