"""Editing a model that is loaded: the same edit as by name, and nothing left in the model."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

import editcore
from editcore import (
    Capabilities,
    ConfigError,
    EditContext,
    EditcoreError,
    Editor,
    EditorConfig,
    EditorInfo,
    EditRequest,
    EditResult,
    ModelError,
    PluginError,
    RequestError,
    Requirement,
    Trained,
)
from editcore.runs.adhoc.in_memory.edit import Edit
from editcore.testing.assertions import assert_same_delta
from editcore.testing.models import tiny_model
from editcore.updates.delta import Delta, LowRankUpdate
from tests.patches import Noise
from tests.studies import TEXTS, record, write_config, write_json

ModelSaver = Callable[..., Path]
CORAL = {"prompt": "{} is made by", "subject": "Coral", "target": "Osdor"}
TAVEL = {"prompt": "The sea of {} is", "subject": "Tavel", "target": "quiet"}
# What `Halting` refuses.
UNKNOWN = {"prompt": "{} is made by", "subject": "Harbor", "target": "nobody"}
WEIGHT = "transformer.h.1.mlp.c_proj.weight"


class NoOptions(EditorConfig):
    """No options."""


class NeedsTraining(EditorConfig):
    """An editor that learns first."""

    def requires(self) -> tuple[Requirement, ...]:
        return (Trained(()),)


class Noisy(Editor[NoOptions]):
    """A patch."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        return EditResult(patch=Noise.at(context.model, 1, seed=0, size=1.0))


class Halting(Editor[NoOptions]):
    """Adds the number of facts so far to one weight; some fact cannot be edited."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        if requests[-1].target_new == "nobody":
            raise RequestError("nobody makes anything")
        count = (0 if state is None else int(state["count"])) + len(requests)
        d_in, d_out = context.model.model.get_parameter(WEIGHT).shape
        update = LowRankUpdate(count * torch.ones(d_out, 1), torch.ones(d_in, 1))
        return EditResult(Delta({WEIGHT: update}), state={"count": torch.tensor(count)})


def info(editor: type[Editor[Any]], config: type[EditorConfig], **can: bool) -> EditorInfo:
    return EditorInfo("own", "", "", config, f"{__name__}:{editor.__name__}", Capabilities(**can))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, saved_model: ModelSaver) -> dict[str, Any]:
    """A study of a random model with small artefacts, and a cache."""
    folder = tmp_path_factory.mktemp("in-memory")
    texts = str(write_json(folder / "texts.json", TEXTS))
    words = sorted({word for text in TEXTS for word in text.split()})
    # More tokens than a key has dimensions, since rounding decides what the inverse is of fewer.
    turned = [" ".join([*words[i:], *words[:i]]) for i in range(len(words))]
    many = str(write_json(folder / "many.json", turned))
    facts = str(write_json(folder / "facts.json", [record(0, "Coral")]))
    study = {
        "models": {"random": {"source": str(saved_model("gpt2"))}},
        "editors": {"rome": {"options": {"layer": 1, "steps": 3}}},
        "datasets": {"facts": {"path": facts}},
        "perplexity": {"path": texts, "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "moments": {"path": many, "tokens": 500},
        "continuation_tokens": 4,
    }
    write_config(folder / "study.yaml", study)
    return {"config": folder / "study.yaml", "cache": folder / "cache"}


@pytest.fixture
def loaded(saved_model: ModelSaver) -> tuple[Any, Any]:
    """The model of the study, as a user loads it."""
    folder = saved_model("gpt2")
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def bits(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(tensor, expected[name]) for name, tensor in found.items()
    )


@torch.no_grad()
def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    found: torch.Tensor = model(**tokenizer("Coral is made by", return_tensors="pt")).logits
    return found


def test_the_edit_and_its_verdict_are_those_of_check(
    place: dict[str, Any], loaded: tuple[Any, Any], saved_model: ModelSaver
) -> None:
    by_name = editcore.check("random", "rome", **CORAL, **place, calibrate=False)
    model, tokenizer = loaded
    made = editcore.edit(model, "rome", CORAL, tokenizer=tokenizer, **place)
    assert made.status == "ok"
    assert made.delta is not None and by_name.delta is not None
    assert_same_delta(made.delta, by_name.delta, tolerance=1e-3)
    report = made.check()
    assert report.outcome == by_name.outcome
    for column in ("perplexity", "perplexity_base", "denominator", "top1_kept", "efficacy"):
        assert report.row[column] == pytest.approx(by_name.row[column], rel=1e-3), column
    assert report.row["stored_as"] is None
    assert [each.before for each in report.continuations] == [
        each.before for each in by_name.continuations
    ]


def test_nothing_is_loaded_or_copied_and_artefacts_are_found_again(
    place: dict[str, Any], loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded again")

    for loader in (AutoModelForCausalLM, AutoTokenizer, type(loaded[0])):
        monkeypatch.setattr(loader, "from_pretrained", refuse)
    model, tokenizer = loaded
    said: list[str] = []
    again = {**place, "cache": tmp_path, "tokenizer": tokenizer, "say": said.append}
    options = {"options": {"second_moment": True}}
    made = editcore.edit(model, "rome", CORAL, **again, **options)
    made.check()
    assert made.prepared.session.context.model.model is model
    steps = [line for line in said if "kept " in line]
    assert len(steps) == 3, steps  # prefixes, second moments, rounding
    said.clear()
    editcore.edit(model, "rome", CORAL, **again, **options).check()
    assert not [line for line in said if "kept " in line]
    with torch.no_grad():
        model.get_parameter(WEIGHT).mul_(1.01)
    editcore.edit(model, "rome", CORAL, **again, **options)
    assert len([line for line in said if "kept " in line]) == 2


def test_leaving_the_block_restores_every_bit_also_after_an_error(
    place: dict[str, Any], loaded: tuple[Any, Any]
) -> None:
    model, tokenizer = loaded
    model.train()
    model.transformer.wte.weight.requires_grad_(False)
    before = bits(model)
    made = editcore.edit(model, "rome", CORAL, tokenizer=tokenizer, **place)
    made.check()
    assert same(bits(model), before)
    with editcore.edited(model, made) as changed:
        assert changed is model
        assert not same(bits(model), before)
        with pytest.raises(ModelError, match=r"leave the block of `editcore\.edited`"):
            made.check()
        with pytest.raises(ModelError, match="leave the block"):
            made.next(TAVEL)
    assert same(bits(model), before)
    with pytest.raises(ZeroDivisionError), editcore.edited(model, made):
        _ = 1 / 0
    assert same(bits(model), before)
    assert all(module.training for module in model.modules())
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["transformer.wte.weight"]
    assert not any(module._forward_hooks for module in model.modules())


def test_an_edit_can_be_made_without_gradients(
    place: dict[str, Any], loaded: tuple[Any, Any]
) -> None:
    model, tokenizer = loaded
    usual = editcore.edit(model, "rome", CORAL, tokenizer=tokenizer, **place)
    with torch.no_grad():
        made = editcore.edit(model, "rome", CORAL, tokenizer=tokenizer, **place)
    assert made.delta is not None and usual.delta is not None
    assert_same_delta(made.delta, usual.delta, tolerance=1e-6)


def test_a_sequence_is_one_edit_of_the_unedited_model(
    place: dict[str, Any], loaded: tuple[Any, Any]
) -> None:
    model, tokenizer = loaded
    before = bits(model)
    first = editcore.edit(model, "rome", CORAL, tokenizer=tokenizer, **place)
    both = first.next(TAVEL)
    assert [request.subject for request in both.requests] == ["Coral", "Tavel"]
    assert [request.case_id for request in both.requests] == [0, 1]
    assert same(bits(model), before)
    together = editcore.edit(model, "rome", [CORAL, TAVEL], tokenizer=tokenizer, **place)
    assert together.delta is not None and both.delta is not None
    assert_same_delta(together.delta, both.delta, tolerance=1e-6)
    # The second edit is what editing the edited model gives.
    with editcore.edited(model, first):
        once_edited = bits(model)[WEIGHT]
    with editcore.edited(model, both):
        twice_edited = bits(model)[WEIGHT]
    session = first.prepared.session
    with editcore.edited(model, first), first.prepared.given.in_use():
        second = session.edit(both.requests[1:], first.result.state).delta
    assert second is not None
    torch.testing.assert_close(once_edited + second.updates[WEIGHT].dense().T, twice_edited)
    report = both.check()
    assert report.row["delta_norm"] == pytest.approx(both.delta.norm())
    assert "This edit makes 2 facts" in str(report)


@pytest.mark.parametrize(("batched", "norms"), [(True, 3), (False, 1 + 2 + 3)])
def test_several_facts_are_edited_together_if_the_editor_can(
    place: dict[str, Any], loaded: tuple[Any, Any], batched: bool, norms: int
) -> None:
    own = info(Halting, NoOptions, batched=batched)
    model, tokenizer = loaded
    three = [CORAL, TAVEL, {**CORAL, "target": "Elro"}]
    made = editcore.edit(model, own, three, tokenizer=tokenizer, **place)
    d_in, d_out = model.get_parameter(WEIGHT).shape
    assert made.delta is not None
    assert made.delta.norm() == pytest.approx(norms * (d_in * d_out) ** 0.5)


def test_an_edit_that_cannot_be_made_has_the_reason(
    place: dict[str, Any], loaded: tuple[Any, Any]
) -> None:
    model, tokenizer = loaded
    own = info(Halting, NoOptions)
    made = editcore.edit(model, own, CORAL, tokenizer=tokenizer, **place)
    failed = made.next([UNKNOWN, CORAL])
    assert (failed.status, failed.change) == ("nobody makes anything", None)
    assert [request.subject for request in failed.requests] == ["Coral", "Harbor"]
    assert made.status == "ok"
    attempts: list[Callable[[], Any]] = [
        failed.check,
        lambda: failed.next(CORAL),
        editcore.edited(model, failed).__enter__,
    ]
    for attempt in attempts:
        with pytest.raises(RequestError, match="could not be made: nobody makes anything"):
            attempt()


def test_a_patch_is_in_place_in_the_block_only(
    place: dict[str, Any], loaded: tuple[Any, Any]
) -> None:
    model, tokenizer = loaded
    own = info(Noisy, NoOptions, changes_weights=False)
    made = editcore.edit(model, own, CORAL, tokenizer=tokenizer, **place)
    before = logits(model, tokenizer)
    with editcore.edited(model, made):
        assert not torch.equal(logits(model, tokenizer), before)
    assert torch.equal(logits(model, tokenizer), before)
    assert made.delta is None
    assert made.check().row["delta_norm"] is None
    assert "made as a patch" in str(made)


def test_tables_for_notebooks_are_escaped_and_need_nothing_from_elsewhere(
    place: dict[str, Any], loaded: tuple[Any, Any]
) -> None:
    model, tokenizer = loaded
    fact = {**CORAL, "target": "<b>Osdor</b>"}
    made = editcore.edit(model, "rome", fact, tokenizer=tokenizer, **place)
    report = made.check()
    for page in (made._repr_html_(), report._repr_html_()):
        assert "&lt;b&gt;Osdor&lt;/b&gt;" in page
        assert "<b>" not in page
        assert '<th scope="row"' in page and "<caption" in page
        assert not re.search(r"https?:|src=|url\(|<script|color:", page)
    page = report._repr_html_()
    assert report.outcome.upper() in page
    for heading in ("Prompt", "Before the edit", "After the edit"):
        assert re.search(f'<th scope="col"[^>]*>{heading}</th>', page)


def wrong() -> Iterator[tuple[dict[str, Any], type[EditcoreError], str]]:
    """What is given wrong, and the error."""
    t5 = T5ForConditionalGeneration(T5Config(d_model=8, d_ff=8, d_kv=4, num_layers=1, num_heads=2))
    yield {"model": "tiny-gpt2"}, ModelError, "editcore.check` takes a model by name"
    yield {"model": t5}, ModelError, "an encoder and a decoder"
    yield {"tokenizer": None}, ModelError, "the tokenizer is a NoneType; give the model's own"
    yield {"editor": "romee"}, PluginError, "Did you mean 'rome'?"
    yield {"options": {"layr": 1}}, ConfigError, "layr: unknown key. Did you mean 'layer'?"
    yield {"options": {"layer": 7}}, ModelError, "7"
    yield {"chat": True}, ModelError, "has no chat template"
    yield {"facts": []}, RequestError, "there are no facts"
    yield {"facts": "Coral"}, RequestError, "a fact is a str; give a dictionary"
    yield {"facts": {"prompt": "{} is"}}, RequestError, "a fact has no 'target'"
    yield {"facts": {**CORAL, "subjct": "x"}}, RequestError, "Did you mean 'subject'?"
    yield {"facts": {**CORAL, "prompt": "It is"}}, RequestError, "needs one '{}'"
    trained = info(Halting, NeedsTraining)
    yield {"editor": trained}, PluginError, "has to be trained, which only one in a package"
    known = EditorInfo("rome", "", "", NoOptions, f"{__name__}:Halting")
    yield {"editor": known}, PluginError, "'rome' is installed already"


@pytest.mark.parametrize(("given", "error", "message"), wrong())
def test_what_cannot_be_used_is_refused_in_a_sentence(
    place: dict[str, Any],
    loaded: tuple[Any, Any],
    given: dict[str, Any],
    error: type[EditcoreError],
    message: str,
) -> None:
    model, tokenizer = loaded
    asked = {"model": model, "editor": "rome", "facts": CORAL, "tokenizer": tokenizer}
    before = bits(model)
    with pytest.raises(error, match=re.escape(message)):
        editcore.edit(**(asked | place | given))
    assert same(bits(model), before)


def test_a_model_that_was_never_saved_is_edited_with_the_defaults(tmp_path: Path) -> None:
    model, tokenizer = tiny_model("llama")
    texts = str(write_json(tmp_path / "texts.json", TEXTS))
    study = {
        "models": {"unused": {"source": "unused"}},
        "editors": {"ft": {"options": {"steps": 2}}},
        "datasets": {"facts": {"path": texts}},
        "perplexity": {"path": texts, "texts": 2},
    }
    write_config(tmp_path / "study.yaml", study)
    made: Edit = editcore.edit(
        model,
        "ft",
        CORAL,
        tokenizer=tokenizer,
        config=tmp_path / "study.yaml",
        cache=tmp_path / "cache",
    )
    assert made.status == "ok"
    assert made.prepared.label == "ft on model"
