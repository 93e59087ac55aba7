"""The edit on several architectures, and requests that cannot be carried out."""

import pytest
import torch
from editcore_memit.config import MemitConfig
from editcore_memit.editor import MemitEditor
from pydantic import ValidationError

from editcore import EditRequest, Moments, Prefixes, RequestError, Values
from editcore.testing import tiny_context, tiny_requests
from editcore.toolkit import continuation_ids, tokenize_templates

LAYERS = (0, 1)
KINDS = ("gpt2", "gptj", "llama")
TEMPLATES = ("{}", "Therefore. {}", "I think. {}")
BAD = EditRequest(9, "{}al is made by", "Cor", "Osdor", "Elro")


def editor(**options: float) -> MemitEditor:
    return MemitEditor(MemitConfig(layers=LAYERS, **{"moment_weight": 1.0, "steps": 3, **options}))


def test_options_ask_for_their_artefacts() -> None:
    config = MemitConfig(layers=(3, 4, 7))
    values = Values(config.value_options())
    assert config.requires() == (Prefixes(), values, Moments(3), Moments(4), Moments(7))
    assert config.edited_layers() == (3, 4, 7)


@pytest.mark.parametrize("wrong", [{"layers": ()}, {"layers": (2, 1)}, {"layers": (1, 1)}, {}])
def test_layers_must_ascend(wrong) -> None:
    with pytest.raises(ValidationError):
        MemitConfig(**wrong)


def test_the_message_shows_what_layers_look_like() -> None:
    with pytest.raises(ValidationError, match=r"must ascend.*not \[2, 1\]"):
        MemitConfig(layers=(2, 1))
    with pytest.raises(ValidationError):
        MemitConfig(layers=(1,), moment_weight=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_edited_model_has_the_loss_that_the_search_ended_with(kind: str) -> None:
    """If the subject is the whole prompt, the edit affects no other token and does what δ did."""
    given = tiny_context(kind, TEMPLATES[:1])
    request = EditRequest(0, "{}", "Coral", "Osdor", "Elro")
    (prompt,) = tokenize_templates(given.model, request, ["{}"])
    (target,) = continuation_ids(given.model.tokenizer, request.text, request.target_new)
    assert len(prompt.ids) == 1

    def nll() -> float:
        with torch.no_grad():
            logits = given.model.model(torch.tensor([prompt.ids])).logits[0, -1]
        return -float(logits.log_softmax(-1)[target])

    before = nll()
    plain = {"kl_factor": 0, "weight_decay": 0, "clamp_norm_factor": 4}
    result = editor(moment_weight=1e-6, steps=20, **plain).edit(given, [request])
    with result.delta.applied(given.model.model):
        assert nll() == pytest.approx(result.diagnostics["loss"], rel=1e-2, abs=1e-3)
        assert nll() < before - 1


def test_a_batch_is_one_change_and_each_alone_is_another() -> None:
    given = tiny_context("llama", TEMPLATES)
    together = editor().edit(given, tiny_requests())
    singles = list(editor().edit_each(given, tiny_requests()))
    assert together.delta.finite()
    for layer in LAYERS:
        name = given.model.parts.down_weight(layer)
        assert together.delta.updates[name].inputs.shape[1] == len(singles)
        added = sum(single.delta.updates[name].dense() for single in singles)
        assert (together.delta.updates[name].dense() - added).norm() > 1e-3 * added.norm()
    assert all(single.delta.finite() and single.delta.norm() > 0 for single in singles)


def test_each_request_gets_what_it_gets_alone() -> None:
    given = tiny_context("gpt2", TEMPLATES)
    for request, result in zip(
        tiny_requests(), editor().edit_each(given, tiny_requests()), strict=True
    ):
        alone = editor().edit(given, [request])
        assert result.diagnostics == pytest.approx(alone.diagnostics, rel=1e-4)
        for name, update in alone.delta.updates.items():
            other = result.delta.updates[name]
            torch.testing.assert_close(other.dense(), update.dense(), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_editing_leaves_the_weights_as_they_were(kind: str) -> None:
    given = tiny_context(kind, TEMPLATES[:2])
    before = {name: p.clone() for name, p in given.model.model.named_parameters()}
    result = editor().edit(given, tiny_requests())
    with result.delta.applied(given.model.model):
        changed = {
            name
            for name, p in given.model.model.named_parameters()
            if not torch.equal(p, before[name])
        }
    assert changed == set(result.delta.updates)
    for name, parameter in given.model.model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_a_case_that_cannot_be_placed_leaves_the_others_untouched() -> None:
    given, good = tiny_context("gpt2"), tiny_requests()
    results = list(editor().edit_each(given, [good[0], BAD, good[1]]))
    assert [result.status == "ok" for result in results] == [True, False, True]
    assert "inside a token" in results[1].status
    assert editor().edit(given, [BAD]).status == results[1].status
    for result, alone in zip(
        (results[0], results[2]), editor().edit_each(given, good[:2]), strict=True
    ):
        assert result.delta.norm() == pytest.approx(alone.delta.norm(), rel=1e-4)


def test_a_batch_with_a_bad_case_names_it() -> None:
    with pytest.raises(RequestError, match=r"case 9: .*inside a token.*leave it out"):
        editor().edit(tiny_context("gpt2"), [tiny_requests()[0], BAD])
    with pytest.raises(RequestError, match="at least one"):
        editor().edit(tiny_context("gpt2"), [])


def test_a_model_with_nans_gives_a_failed_result() -> None:
    given = tiny_context()
    with torch.no_grad():
        given.model.model.get_parameter("model.norm.weight").fill_(float("nan"))
    (result,) = editor().edit_each(given, tiny_requests()[:1])
    assert result.delta is None
    assert "non-finite" in result.status
    with pytest.raises(RequestError, match=r"case 0: .*non-finite"):
        editor().edit(given, tiny_requests())
