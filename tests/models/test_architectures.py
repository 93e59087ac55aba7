"""Every family's paths lead to the parts that they name; what is unknown is said plainly."""

from dataclasses import replace

import pytest

from editcore import ModelFamilyInfo, hookimpl
from editcore.errors import ModelError, PluginError
from editcore.models.loading import LoadedModel, load_model, wrap_model
from editcore.registry.candidates import Candidate, installed
from editcore.registry.families import family_of
from editcore.registry.hookspecs import HOOKSPEC_VERSION
from editcore.registry.registry import Registry, load_registry
from editcore.testing import ModelFamilyConformance
from editcore.testing.models import ARCHITECTURES, KINDS, tiny_model, tiny_model_of_type

FAMILY = ModelFamilyInfo("mine", "", ("mine",), "model.layers", "mlp.down_proj")


class TestBuiltIn(ModelFamilyConformance):
    @pytest.fixture(scope="class", params=KINDS)
    def model(self, request: pytest.FixtureRequest) -> LoadedModel:
        return wrap_model(request.param, *tiny_model(request.param))


def test_every_type_of_a_built_in_family_is_tested() -> None:
    registry = load_registry([installed()[0]])
    families = [entry.record for entry in registry.model_families.values()]
    known = {name for family in families for name in family.model_types}
    assert known == {model_type for model_type, _ in ARCHITECTURES.values()}


def registry_of(*families: ModelFamilyInfo) -> Registry:
    """What editcore brings, and for each family a distribution that brings it."""

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
    assert family_of("llama", registry).source.distribution == "editcore"


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"blocks": "model.blocks"}, "model.blocks"),
        ({"blocks": "model.norm"}, "model.norm"),
        ({"mlp": "feed_forward"}, r"model\.layers\.0\.feed_forward"),
        ({"down": "mlp.down"}, r"model\.layers\.0\.mlp\.down"),
    ],
)
def test_a_family_whose_paths_lead_nowhere_is_named(wrong: dict[str, str], path: str) -> None:
    family = replace(FAMILY, **wrong, model_types=("starcoder2",))
    model, tokenizer = tiny_model("llama")
    model.config.model_type = "starcoder2"
    with pytest.raises(PluginError, match=f"family 'mine' expects {path}, which a model of type"):
        wrap_model("m", model, tokenizer, registry=registry_of(family))


def test_a_model_that_normalises_what_its_mlps_give_fails_the_suite() -> None:
    """OLMo 2: a change of the down-projection is not what it adds to the block's output."""
    settings = dict(ARCHITECTURES["llama"][1])
    registry = registry_of(replace(FAMILY, model_types=("olmo2",)))
    model = wrap_model("olmo2", *tiny_model_of_type("olmo2", settings), registry=registry)
    suite = ModelFamilyConformance()
    suite.test_the_down_projection_is_the_last_step_of_the_mlp(model)
    with pytest.raises(AssertionError):
        suite.test_an_edit_read_in_a_shared_pass_is_the_edit(model)


def test_unknown_types_and_layers_are_named() -> None:
    with pytest.raises(ModelError, match=r"'bert'.*gpt2.*the hook editcore_model_families"):
        family_of("bert", load_registry())
    with pytest.raises(ModelError, match="0 to 2"):
        wrap_model("gpt2", *tiny_model("gpt2")).parts.down(3)


def test_a_folder_without_weights_or_tokenizer_is_named(saved_model, tmp_path) -> None:
    import shutil

    folder = shutil.copytree(saved_model("gpt2"), tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"'m'.*model\.safetensors"):
        load_model("m", str(folder))
