"""Requirements on every model family, as tests that a plugin's test class inherits."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch

from editcore.evaluation.teacher_forcing import CaseQuestions, ask, ask_edited, tokenize_questions
from editcore.models import hooks
from editcore.models.architectures import stores_transposed
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import tiny_model_of_type, tiny_requests
from editcore.updates.delta import Delta, LowRankUpdate

LAYER = 1
IDS = torch.tensor([[3, 4, 5]])


class ModelFamilyConformance:
    """Inherit this in a class whose name begins with `Test`, and name a type of models.

    `settings` are arguments of its configuration in transformers that make it small: three blocks
    or more, a width of a few dozen.
    """

    model_type: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]]

    @pytest.fixture(scope="class")
    def model(self) -> LoadedModel:
        """A random model of this type."""
        return wrap_model(self.model_type, *tiny_model_of_type(self.model_type, self.settings))

    def test_every_block_is_found(self, model: LoadedModel) -> None:
        """The number of blocks is that of the configuration."""
        assert model.parts.depth == model.model.config.num_hidden_layers

    def test_the_down_projection_is_the_last_step_of_the_mlp(self, model: LoadedModel) -> None:
        """Its output is the MLP's, and its weight maps keys to states."""
        parts = model.parts
        with (
            torch.no_grad(),
            hooks.recording(parts.mlp(LAYER)) as mlp,
            hooks.recording(parts.down(LAYER)) as down,
        ):
            model.model(IDS)
        assert mlp.output is not None and down.output is not None and down.input is not None
        assert torch.equal(mlp.output, down.output)
        name = parts.down_weight(LAYER)
        weight = model.model.get_parameter(name)
        shape = weight.T.shape if stores_transposed(model.model, name) else weight.shape
        assert shape == (model.model.config.hidden_size, down.input.shape[-1])

    @torch.no_grad()
    def test_the_head_gives_the_model_s_own_logits(self, model: LoadedModel) -> None:
        """Given the last hidden states."""
        hidden = model.model.base_model(IDS).last_hidden_state
        torch.testing.assert_close(model.parts.logits(hidden[0]), model.model(IDS).logits[0])

    @torch.no_grad()
    def test_a_pass_can_start_in_the_middle(self, model: LoadedModel) -> None:
        """From the states after a block; the tokens do not matter then."""
        parts = model.parts
        with hooks.recording(parts.block(LAYER)) as seen:
            expected = model.model(IDS).logits
        assert seen.output is not None
        with (
            hooks.resuming_after(parts, LAYER, seen.output),
            hooks.recording(parts.block(0)) as first,
        ):
            found = model.model(torch.full_like(IDS, 9)).logits
        torch.testing.assert_close(found, expected)
        assert torch.equal(model.model(IDS).logits, expected)
        assert first.output is not None
        assert torch.equal(first.output, seen.output), "the blocks before it pass the states on"

    def test_an_edit_read_in_a_shared_pass_is_the_edit(self, model: LoadedModel) -> None:
        """Many edits in one pass give the same answers as changed weights."""
        name, width = model.parts.down_weight(LAYER), model.model.config.hidden_size
        keys = model.model.get_parameter(name).numel() // width
        generator = torch.Generator().manual_seed(0)
        change = LowRankUpdate(
            torch.randn(width, 1, generator=generator), torch.randn(keys, 1, generator=generator)
        )
        delta = Delta({name: change.scaled(1 / change.norm())})
        asked = tokenize_questions(model, CaseQuestions(tiny_requests()[0], "{}").all())
        ((before, after),) = ask_edited(model, [asked], [delta])
        with delta.applied(model.model):
            plain = ask(model, asked)
        for question in asked.questions:
            expected = plain[question].log_probability
            assert after[question].log_probability == pytest.approx(expected, abs=1e-3)
        assert any(before[q].log_probability != after[q].log_probability for q in asked.questions)
