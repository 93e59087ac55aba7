"""A model's parts are found by its structure and proved right; what cannot be edited is refused."""

from dataclasses import replace

import pytest
import torch

from editcore import ModelFamilyInfo, hookimpl
from editcore.errors import ModelError, PluginError
from editcore.models.loading import LoadedModel, load_model, wrap_model
from editcore.models.proof import prove
from editcore.registry.candidates import Candidate, installed
from editcore.registry.families import family_of
from editcore.registry.hookspecs import HOOKSPEC_VERSION
from editcore.registry.registry import Registry, load_registry
from editcore.testing import ModelFamilyConformance
from editcore.testing.models import ARCHITECTURES, KINDS, tiny_model, tiny_model_of_type

FAMILY = ModelFamilyInfo("mine", "", ("mine",), "model.layers", "mlp.down_proj")


class TestEveryKind(ModelFamilyConformance):
    @pytest.fixture(scope="class", params=KINDS)
    def model(self, request: pytest.FixtureRequest) -> LoadedModel:
        return wrap_model(request.param, *tiny_model(request.param))


def registry_of(*families: ModelFamilyInfo) -> Registry:
    """What editcore provides, and a distribution that provides each family."""

    class Plugin:
        EDITCORE_HOOKSPEC = HOOKSPEC_VERSION

        def __init__(self, family: ModelFamilyInfo) -> None:
            self.family = family

        @hookimpl
        def editcore_model_families(self) -> list[ModelFamilyInfo]:
            return [self.family]

    plugins = [Candidate(f.name, f"by-{f.name}", "1", lambda f=f: Plugin(f)) for f in families]
    return load_registry([installed()[0], *plugins])


def test_a_type_that_two_families_claim_belongs_to_neither() -> None:
    registry = registry_of(FAMILY, replace(FAMILY, name="other"))
    with pytest.raises(PluginError, match="'mine' of by-mine and 'other' of by-other; uninstall"):
        family_of("mine", registry)
    assert family_of("llama", registry) is None


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"blocks": "model.blocks"}, "model.blocks"),
        ({"blocks": "model.norm"}, "model.norm"),
        ({"mlp": "feed_forward"}, r"model\.layers\.0\.feed_forward"),
        ({"down": "mlp.down"}, r"model\.layers\.0\.mlp\.down"),
    ],
)
def test_a_family_with_a_path_that_does_not_exist_is_named(
    wrong: dict[str, str], path: str
) -> None:
    family = replace(FAMILY, **wrong, model_types=("starcoder2",))
    model, tokenizer = tiny_model("llama")
    model.config.model_type = "starcoder2"
    with pytest.raises(PluginError, match=f"family 'mine' expects {path}, which a model of type"):
        wrap_model("m", model, tokenizer, registry=registry_of(family))


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_a_mixture_of_experts_is_refused_by_name(model_type: str) -> None:
    settings = {**ARCHITECTURES["qwen3"][1], "num_experts": 4, "num_local_experts": 4}
    with pytest.raises(ModelError, match=f"'m' is of type '{model_type}', a mixture of 4 experts"):
        wrap_model("m", *tiny_model_of_type(model_type, settings))


def test_a_model_that_reads_ahead_fails_the_proof() -> None:
    settings = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    with pytest.raises(ModelError, match=r"'bert' .*later tokens changing no earlier prediction"):
        wrap_model("m", *tiny_model_of_type("bert", settings))


def test_a_model_without_attention_fails_the_proof() -> None:
    with pytest.raises(ModelError, match="'mamba' cannot be edited"):
        settings = {"hidden_size": 32, "num_hidden_layers": 2}
        wrap_model("m", *tiny_model_of_type("mamba", settings))


def test_a_head_that_reads_something_else_than_the_states_fails_the_proof() -> None:
    settings = {"hidden_size": 32, "embedding_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "intermediate_size": 64, "is_decoder": True}
    with pytest.raises(ModelError, match=r"'electra' cannot be edited: .* the head giving"):
        wrap_model("m", *tiny_model_of_type("electra", settings | heads))


def test_a_model_that_does_not_run_says_what_it_says() -> None:
    with pytest.raises(ModelError, match=r"'gptj' fails when .* \(RuntimeError: The size of"):
        wrap_model("m", *tiny_model("gptj", rotary_dim=64))


@pytest.mark.parametrize("passes", [0, 1, 5])
def test_a_lack_of_memory_in_the_proof_is_no_failed_proof(passes: int) -> None:
    loaded = wrap_model("m", *tiny_model("gpt2"))
    left = iter(range(passes))

    def allocate(*_: object) -> None:
        if next(left, None) is None:
            torch.empty(2**60)

    loaded.model.register_forward_pre_hook(allocate)
    with pytest.raises(ModelError, match="not enough memory to run a model of type 'gpt2' on 5"):
        prove(loaded.model, loaded.parts, [1, 2, 3, 4, 5])


def test_a_family_that_names_another_map_is_refused() -> None:
    family = replace(FAMILY, down="mlp.up_proj", model_types=("qwen2",))
    model, tokenizer = tiny_model("qwen2")
    with pytest.raises(PluginError, match=r"expects an MLP that ends with mlp\.up_proj"):
        wrap_model("m", model, tokenizer, registry=registry_of(family))


def test_what_the_blocks_do_with_their_mlps_is_measured() -> None:
    found = {kind: wrap_model(kind, *tiny_model(kind)).anatomy for kind in KINDS}
    no_join = {"gemma2", "gemma3", "olmo2", "opt-post-norm", "granite", "glm4", "exaone4"}
    assert {kind for kind, anatomy in found.items() if not anatomy.joins} == no_join
    assert {kind for kind, a in found.items() if a.flat} == {"opt", "opt-post-norm"}
    assert {kind for kind, a in found.items() if not a.plain_head} == {
        "gemma2", "cohere", "granite",
    }  # fmt: skip
    assert found["phi3"].maps == ("mlp.gate_up_proj", "mlp.down_proj")
    assert (found["bloom"].mlp, found["opt"].mlp) == ("mlp.dense_4h_to_h", "fc2")


def test_layers_that_a_model_does_not_have_are_named() -> None:
    with pytest.raises(ModelError, match="0 to 2"):
        wrap_model("gpt2", *tiny_model("gpt2")).parts.down(3)


def test_a_folder_without_weights_or_tokenizer_is_named(saved_model, tmp_path) -> None:
    import shutil

    folder = shutil.copytree(saved_model("gpt2"), tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"'m'.*model\.safetensors"):
        load_model("m", str(folder))
