"""A model's size from its configuration equals that of the model that is built from it."""

import re

import pytest

from editcore.planning.feasibility.model_size import from_configuration
from editcore.testing.models import KINDS, tiny_model

# Their configurations describe shared keys and values in ways of their own; they count as a little
# larger than they are.
OTHERS = ("falcon", "falcon-new", "falcon-alibi", "gpt-bigcode")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(OTHERS)))
def test_parameters_are_those_of_the_model(kind: str) -> None:
    model, _ = tiny_model(kind)
    size = from_configuration(model.config.to_dict(), "float32")
    assert size is not None
    matrices = {name: p.numel() for name, p in model.named_parameters() if p.ndim == 2}
    blocks = sum(n for name, n in matrices.items() if re.search(r"\.\d+\.", name))
    assert size.blocks == blocks
    assert size.embeddings == model.get_output_embeddings().weight.numel()


def test_nothing_is_known_without_a_width() -> None:
    assert from_configuration({"model_type": "gpt2", "n_layer": 3}, "float32") is None
    assert from_configuration({}, "float32") is None


def test_bfloat16_takes_half_the_memory() -> None:
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 10}
    whole, half = (from_configuration(config, dtype) for dtype in ("float32", "bfloat16"))
    assert whole is not None and half is not None
    assert whole.weight_bytes == 2 * half.weight_bytes
