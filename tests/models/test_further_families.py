"""Families of transformers that nothing in editcore names are found and proved like the others."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from transformers import AutoConfig

from editcore.models.arithmetic.kernels import use_fast_kernels
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing import ModelFamilyConformance
from editcore.testing.models import tiny_model_of_type

FAMILIES = (
    "apertus", "arcee", "bert-generation", "biogpt", "bitnet", "codegen", "cohere2", "ctrl", "cwm",
    "diffllama", "ernie4_5", "gemma4_unified_text", "glm", "gpt-sw3", "gpt_neox_japanese",
    "granite_swa", "helium", "hunyuan_v1_dense", "hyperclovax", "internlm3", "iquestcoder", "jais2",
    "lfm2", "ministral3", "mpt", "nanochat", "olmo3", "persimmon", "seed_oss", "vaultgemma", "xglm",
)  # fmt: skip
# A small model's settings, each by all the names that it has in configurations.
SMALL: Mapping[int | float, tuple[str, ...]] = MappingProxyType(
    {
        32: ("hidden_size", "n_embd", "d_model"),
        64: ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "dff"),
        3: ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        4: ("num_attention_heads", "n_head", "n_heads", "attention_heads", "rotary_dim"),
        2: ("num_key_value_heads", "expansion_ratio"),
        8: ("head_dim",),
        256: ("max_position_embeddings", "n_positions", "max_seq_len"),
        0.0: ("attention_dropout", "dropout", "activation_dropout", "layerdrop", "resid_pdrop"),
        True: ("is_decoder",),
    }
)


def small(model_type: str) -> dict[str, Any]:
    """Those of the settings that this type's configuration has."""
    usual = AutoConfig.for_model(model_type)
    known = {*usual.to_dict(), *usual.attribute_map}
    return {name: value for value, names in SMALL.items() for name in names if name in known}


class TestFurtherFamilies(ModelFamilyConformance):
    @pytest.fixture(scope="class", params=FAMILIES)
    def model(self, request: pytest.FixtureRequest) -> LoadedModel:
        model, tokenizer = tiny_model_of_type(request.param, small(request.param))
        use_fast_kernels(model)
        return wrap_model(request.param, model, tokenizer)
