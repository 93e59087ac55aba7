"""A shard of edits by an editor that does what a test tells it to."""

import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from editcore import (
    Capabilities,
    EditContext,
    Editor,
    EditorConfig,
    EditorInfo,
    EditResult,
    MetricInfo,
)
from editcore.evaluation.metrics import Asking, Metric
from editcore.planning.jobs import DatasetSpec, EditJob, EditorSpec, ModelSpec, PerplexitySpec
from editcore.runs import edit
from editcore.testing.models import SENTENCES, tiny_requests
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate
from tests.patches import Noise

WORLD = Path(__file__).parents[2] / "resources" / "world"
WEIGHT = "model.layers.1.mlp.down_proj.weight"


class ScriptedConfig(EditorConfig):
    """Declares a layer if it is given one."""

    layer: int | None = None
    columns: int | None = None

    def edited_layers(self) -> tuple[int, ...]:
        return () if self.layer is None else (self.layer,)


def change_of(context: EditContext, case: int, columns: int | None = None) -> Delta:
    shape = context.model.model.get_parameter(WEIGHT).shape
    torch.manual_seed(case)
    change = torch.randn(shape) * 0.01
    return Delta({WEIGHT: DenseUpdate(change[:, :columns])})


class Scripted(Editor[ScriptedConfig]):
    """Adds noise to one weight; the second case raises, the third gives non-finite numbers."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        case = requests[0].case_id
        if case == 1:
            raise ValueError("no such fact")
        delta = change_of(context, case, self.config.columns)
        if case == 2:
            delta.updates[WEIGHT].dense()[0, 0] = float("inf")
        return EditResult(delta)


@dataclass(frozen=True)
class Failing(Noise):
    """A patch that cannot be applied."""

    def applied(self, model):
        raise KeyError("no such module")


class Patches(Editor[ScriptedConfig]):
    """One patch that works, one that cannot be applied, one beside a weight change."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        case = requests[0].case_id
        patch = Noise.at(context.model, 1, seed=case, size=0.1)
        if case == 1:
            return EditResult(patch=Failing(**vars(patch)))
        delta = change_of(context, case) if case == 2 else None
        return EditResult(delta, patch=patch, diagnostics={"steps": 3})


class Sloppy(Editor[ScriptedConfig]):
    """Returns what is not an edit; the last request is left out."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        raise AssertionError("edit_each answers")

    def edit_each(self, context: EditContext, requests):
        if requests[0].case_id == 0:
            yield change_of(context, 0)
            yield EditResult()
        else:
            yield EditResult(change_of(context, 0), diagnostics={"denominator": float("nan")})


class Ragged(Editor[ScriptedConfig]):
    """Factors whose ranks differ, a delta with a bare tensor, and one sound change."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        case, shape = requests[0].case_id, context.model.model.get_parameter(WEIGHT).shape
        if case == 2:
            return EditResult(change_of(context, case))
        ragged = LowRankUpdate(torch.ones(shape[0], 2), torch.ones(shape[1], 2))
        # Afterwards, since the tests themselves refuse such factors where they are given.
        object.__setattr__(ragged, "inputs", torch.ones(shape[1], 1))
        return EditResult(Delta({WEIGHT: ragged if case == 0 else torch.ones(shape)}))


class Sound(Editor[ScriptedConfig]):
    """Small noise on one weight."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        return EditResult(change_of(context, requests[0].case_id))


Script = Callable[..., None]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Make an editor, and metrics, known to every registry that a shard loads."""
    original = edit.load_registry

    def use(
        editor: type[Editor[ScriptedConfig]],
        metric: Metric | None = None,
        asking: Asking | None = None,
        **capabilities: bool,
    ) -> None:
        module = types.ModuleType("scripted")
        module.__dict__.update(Editor=editor, metric=metric, asking=asking)
        asks = "scripted:asking" if asking else ""
        monkeypatch.setitem(sys.modules, "scripted", module)

        def registry():
            found = original()
            source = found.editors["rome"].source
            found.editors.add(
                EditorInfo(
                    "scripted",
                    "",
                    "",
                    ScriptedConfig,
                    "scripted:Editor",
                    Capabilities(**capabilities),
                ),
                source,
            )
            odd = MetricInfo("odd", "", "", "scripted:metric", ("oddness",), asks)
            found.metrics.add(odd, source)
            return found

        monkeypatch.setattr(edit, "load_registry", registry)

    return use


@pytest.fixture
def scripted(script: Script) -> None:
    """Make `Scripted` known to the registry."""
    script(Scripted)


@pytest.fixture
def job(saved_model, tmp_path: Path) -> EditJob:
    records = [
        {
            "case_id": r.case_id,
            "pararel_idx": 0,
            "requested_rewrite": {
                "prompt": r.prompt,
                "relation_id": r.relation,
                "subject": r.subject,
                "target_new": {"str": r.target_new, "id": ""},
                "target_true": {"str": r.target_true, "id": ""},
            },
            "paraphrase_prompts": list(r.paraphrases),
            "neighborhood_prompts": [p.prompt for p in r.neighbours],
            "attribute_prompts": [],
            "generation_prompts": [],
        }
        for r in tiny_requests()
    ]
    cases, texts = tmp_path / "cases.json", tmp_path / "texts.json"
    cases.write_text(json.dumps(records))
    texts.write_text(json.dumps([{"Corpus": "tests", "Text": s} for s in SENTENCES]))
    return EditJob(
        model=ModelSpec(name="tiny", source=str(saved_model("llama"))),
        editor=EditorSpec(label="mine", uses="scripted"),
        dataset=DatasetSpec(name="cases", path=str(cases)),
        shard=0,
        case_ids=(0, 1, 2),
        perplexity=PerplexitySpec(path=str(texts), texts=4),
        metrics=("accuracy", "score"),
        continuation_tokens=5,
        seed=0,
    )
