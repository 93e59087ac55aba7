"""A patched model computes what the plain model computes on the facts' tokens and a row's own."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import pytest
import torch
from editcore_in_context.config import InContextConfig, RetrievalConfig
from editcore_in_context.editor import InContextEditor, RetrievalEditor
from editcore_in_context.patch import ContextPatch
from torch import Tensor
from transformers.cache_utils import DynamicCache, StaticCache

from editcore import EditContext, EditRequest, PluginError, RequestError
from editcore.testing import KINDS, tiny_model
from editcore.toolkit import LoadedModel, pad_rows, wrap_model

FACTS = (
    EditRequest(0, "Coral is made by", "", "Osdor", ""),
    EditRequest(1, "The mother tongue of Anna Lindqvist is", "", "Elro of Morvania", ""),
    EditRequest(2, "Harbor is in the north of", "", "Tavel", ""),
)
# Of different lengths; the facts nearest to them are of different lengths too.
TEXTS = (
    "The maker of Coral is",
    "In the north of Tavel there is the harbor",
    "Anna Lindqvist speaks her mother tongue, which is",
    "Coral",
)
# Windows of 8 columns, which the facts alone exceed.
WINDOWS = ("gemma2", "gemma3", "mistral-window", "ministral", "starcoder2", "exaone4", "gpt-neo")
Side = Literal["left", "right"]
sides = pytest.mark.parametrize("side", ["right", "left"])
methods = pytest.mark.parametrize("method", ["in-context", "retrieval", "retrieval-some"])


@cache
def loaded(kind: str, **options: Any) -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind, **options))


def patch_of(model: LoadedModel, method: str) -> ContextPatch:
    context = EditContext(model)
    if method == "in-context":
        patch = InContextEditor(InContextConfig()).edit(context, FACTS).patch
    else:
        least = 0.6 if method == "retrieval-some" else 0.0
        patch = RetrievalEditor(RetrievalConfig(least=least)).edit(context, FACTS).patch
    assert isinstance(patch, ContextPatch)
    return patch


def tokens(model: LoadedModel, texts: Sequence[str] = TEXTS) -> list[list[int]]:
    return [model.tokenizer(text)["input_ids"] for text in texts]


def text_before(patch: ContextPatch, row: Sequence[int]) -> Sequence[int]:
    ids = torch.tensor([[*row]])
    return patch.chosen(ids, torch.ones_like(ids))[0]


@torch.no_grad()
def expected(model: LoadedModel, patch: ContextPatch, row: Sequence[int]) -> Tensor:
    """The plain model's logits at a row's tokens after the text before it, without a cache."""
    before = text_before(patch, row)
    ids = torch.tensor([[*before, *row]])
    found: Tensor = model.model(input_ids=ids, use_cache=False).logits[0, len(before) :]
    return found


def assert_as_expected(
    model: LoadedModel, patch: ContextPatch, logits: Tensor, mask: Tensor, rows: list[list[int]]
) -> None:
    for row, found, real in zip(rows, logits, mask.bool(), strict=True):
        torch.testing.assert_close(found[real], expected(model, patch, row), rtol=1e-4, atol=2e-4)


def fits(kind: str, side: Side) -> bool:
    """Whether the padding may be on this side; see the test of what is refused."""
    return side == "right" or kind not in WINDOWS


@pytest.mark.parametrize("kind", KINDS)
@methods
@sides
@torch.no_grad()
def test_a_padded_batch_gives_what_each_row_gives_after_its_text(
    kind: str, method: str, side: Side
) -> None:
    if not fits(kind, side):
        return
    model = loaded(kind)
    patch, rows = patch_of(model, method), tokens(model)
    padded = pad_rows(rows, model.pad_id, side, model.device)
    given: dict[str, Any] = {"input_ids": padded.ids, "attention_mask": padded.mask}
    with patch.applied(model.model):
        plain = model.model(**given, use_cache=False).logits
        placed = model.model(**given, position_ids=padded.positions, use_cache=False).logits
        hidden = model.model.base_model(**given, use_cache=False).last_hidden_state
    for logits in (plain, placed, model.parts.logits(hidden)):
        assert_as_expected(model, patch, logits, padded.mask, rows)


@pytest.mark.parametrize("kind", KINDS)
@methods
@torch.no_grad()
def test_a_pass_continues_from_a_cache_whose_rows_were_chosen_again(kind: str, method: str) -> None:
    model = loaded(kind)
    patch, rows = patch_of(model, method), tokens(model)
    if kind in WINDOWS:  # rows of one length, so that nothing is padded on the left
        rows = [row[:3] for row in rows if len(row) >= 3]
    padded = pad_rows(rows, model.pad_id, "left", model.device)
    index = torch.tensor([2, 0, 0])
    more = [[*rows[i], 11, 12][-2:] for i in index]
    known = DynamicCache()
    with patch.applied(model.model):
        first = model.model(
            input_ids=padded.ids, attention_mask=padded.mask, past_key_values=known, use_cache=True
        ).logits
        known.batch_select_indices(index)
        mask = torch.cat([padded.mask[index], torch.ones(3, 2, dtype=torch.long)], 1)
        positions = padded.mask.sum(1)[index][:, None] + torch.arange(2)
        second = model.model(
            input_ids=torch.tensor(more),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=known,
            use_cache=True,
        ).logits
    assert_as_expected(model, patch, first, padded.mask, rows)
    for place, i in enumerate(index):
        before = text_before(patch, rows[i])
        ids = torch.tensor([[*before, *rows[i], *more[place]]])
        wanted = model.model(input_ids=ids, use_cache=False).logits[0, -2:]
        torch.testing.assert_close(second[place], wanted, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt", "bloom", "gemma3"])
@methods
@pytest.mark.parametrize("use_cache", [True, False])
def test_generation_gives_the_tokens_that_follow_the_text_and_the_row(
    kind: str, method: str, use_cache: bool
) -> None:
    model = loaded(kind)
    patch, row = patch_of(model, method), tokens(model)[0]
    settings: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    ids = torch.tensor([row])
    with patch.applied(model.model):
        found = model.model.generate(ids, use_cache=use_cache, **settings)[0, len(row) :]
    whole = torch.tensor([[*text_before(patch, row), *row]])
    wanted = model.model.generate(whole, use_cache=False, **settings)[0, whole.shape[1] :]
    assert found.tolist() == wanted.tolist()


def test_each_row_is_read_after_the_fact_nearest_to_it() -> None:
    model = loaded("llama")
    patch = patch_of(model, "retrieval")
    found = [model.tokenizer.decode(text_before(patch, row)) for row in tokens(model)]
    nearest = (FACTS[0], FACTS[2], FACTS[1], FACTS[0])
    assert found == [f"New Fact: {r.prompt} {r.target_new}\nPrompt: " for r in nearest]


def test_a_row_is_plain_if_no_fact_is_near_enough() -> None:
    model = loaded("gpt2")
    patch = patch_of(model, "retrieval-some")
    (row,) = tokens(model, ["You said that the sea was quiet"])
    assert text_before(patch, row) == ()
    ids = torch.tensor([row])
    with patch.applied(model.model):
        patched = model.model(input_ids=ids).logits
    assert torch.equal(patched, model.model(input_ids=ids).logits)


def test_a_start_token_is_before_the_facts_and_before_the_row() -> None:
    model = loaded("llama", bos=True)
    patch, (row,) = patch_of(model, "in-context"), tokens(model, ["Coral"])
    start = model.tokenizer.bos_token_id
    assert row[0] == text_before(patch, row)[0] == start
    assert start not in text_before(patch, row)[1:]


def test_a_row_that_does_not_fit_after_the_facts_is_refused() -> None:
    model = loaded("gpt2", n_positions=80)
    patch = patch_of(model, "in-context")
    room = 80 - len(text_before(patch, [1]))
    assert room > 1
    with patch.applied(model.model):
        model.model(input_ids=torch.ones(1, room, dtype=torch.long))
        with pytest.raises(RequestError, match=r"take 81 tokens, and the model has 80 positions"):
            model.model(input_ids=torch.ones(1, room + 1, dtype=torch.long))


@pytest.mark.parametrize("kind", WINDOWS)
def test_padding_between_facts_and_row_is_refused_in_a_window(kind: str) -> None:
    model = loaded(kind)
    padded = pad_rows(tokens(model), model.pad_id, "left", model.device)
    with (
        patch_of(model, "in-context").applied(model.model),
        pytest.raises(PluginError, match=r"last 8 columns only.*pad on the right"),
    ):
        model.model(input_ids=padded.ids, attention_mask=padded.mask)


def test_other_caches_and_masks_are_refused() -> None:
    model = loaded("llama")
    ids = torch.tensor([[5, 6, 7]])
    static = StaticCache(config=model.model.config, max_cache_len=100)
    begun = DynamicCache()
    with patch_of(model, "in-context").applied(model.model):
        with pytest.raises(PluginError, match="DynamicCache only, not in a StaticCache"):
            model.model(input_ids=ids, past_key_values=static)
        with pytest.raises(PluginError, match="is \\[row, column\\]"):
            model.model(input_ids=ids, attention_mask=torch.ones(1, 1, 3, 3, dtype=torch.bool))
        model.model(input_ids=ids, past_key_values=begun)
        with pytest.raises(PluginError, match="more columns than the KV cache and the rows"):
            more = torch.ones(1, begun.get_seq_length() + 4, dtype=torch.long)
            model.model(input_ids=ids, past_key_values=begun, attention_mask=more)
    embedded = model.model.get_input_embeddings()(ids)
    with (
        patch_of(model, "retrieval").applied(model.model),
        pytest.raises(PluginError, match="compares words"),
    ):
        model.model(inputs_embeds=embedded)
