"""The two implementations of editing and measuring: editcore's, and the published toolkits'."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from editcore_rome.config import CRomeConfig, RomeConfig
from editcore_rome.editor import RomeEditor

from benchmarks.measure import seconds
from benchmarks.workload import Workload
from editcore import EditContext
from editcore.editing import reference
from editcore.evaluation import perplexity as measured
from editcore.evaluation.perplexity import EditedPerplexity, read_unedited
from editcore.keyvalue.keys import mixed, prefixed
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.keyvalue.value import Value, pose
from editcore.keyvalue.value_file import StoredValues
from editcore.keyvalue.value_search import find_values
from editcore.models.loading import LoadedModel
from editcore.requests import EditRequest
from editcore.updates.delta import Delta

WAYS = {"rome": (RomeConfig, mixed), "c-rome": (CRomeConfig, prefixed)}


@dataclass
class Done:
    """An implementation's results for each case, and the seconds of its stages."""

    deltas: list[Delta]
    perplexities: list[float]
    values: list[Value] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds of all stages together."""
        return sum(self.seconds.values())


class Fast:
    """editcore's implementation: all cases together."""

    def __init__(self, model: LoadedModel, workload: Workload, layer: int, steps: int = 20) -> None:
        self.model, self.workload = model, workload
        self.config = RomeConfig(layer=layer, second_moment=False, steps=steps)
        prefixes = ContextPrefixes(workload.templates, model.name, 0)
        self.context = EditContext(model, prefixes, key_strategy=mixed)
        texts = measured.tokenize(model, workload.texts)
        self.edited = EditedPerplexity(model, texts, read_unedited(model, texts).predictions)

    def sweep(self, requests: Sequence[EditRequest], editors: Sequence[str] = ("rome",)) -> Done:
        """Edit every fact separately with every editor, and measure every edited model."""
        done = Done([], [])
        device = self.model.device

        def search() -> None:
            found = find_values(
                self.model, requests, self.workload.templates, self.config.value_options()
            )
            done.values = [value for value in found if isinstance(value, Value)]

        def edit(names: Sequence[str]) -> None:
            by_case = {r.case_id: v for r, v in zip(requests, done.values, strict=True)}
            stored = StoredValues(Path("values"), by_case)
            context = replace(self.context, values={self.config.value_options(): stored})
            for name in names:
                kind, keys = WAYS[name]
                given = {"layer": self.config.layer, "steps": self.config.steps}
                config = kind(**given, second_moment=False)
                shared = replace(context, key_strategy=keys)
                for result in RomeEditor(config).edit_each(shared, requests):
                    assert result.delta is not None, result.status
                    done.deltas.append(result.delta)

        def measure() -> None:
            done.perplexities = [found.mean for found in self.edited.of(done.deltas)]

        done.seconds["v*"] = seconds(search, device)
        done.seconds["edit"] = seconds(lambda: edit(editors[:1]), device)
        if editors[1:]:
            done.seconds["other editors"] = seconds(lambda: edit(editors[1:]), device)
        done.seconds["perplexity"] = seconds(measure, device)
        return done

    def edit(self, request: EditRequest) -> Delta:
        """One edit of the model in its current state."""
        result = RomeEditor(self.config).edit(self.context, [request])
        assert result.delta is not None, result.status
        return result.delta


class Plain:
    """The toolkits' way: one case at a time, full forward passes, weights changed and restored."""

    def __init__(self, model: LoadedModel, workload: Workload, layer: int) -> None:
        self.model, self.workload = model, workload
        self.options = RomeConfig(layer=layer, second_moment=False).value_options()

    def sweep(self, requests: Sequence[EditRequest]) -> Done:
        """Edit every fact separately with ROME, and measure every edited model."""
        done = Done([], [], seconds={"edit": 0.0, "perplexity": 0.0})
        for request in requests:
            self.step(request, done)
        return done

    def edit_one(self, request: EditRequest) -> Delta:
        """One edit of the model in its current state."""
        problem = pose(self.model, request, self.workload.templates)
        return reference.edit_one(self.model, problem, self.options, mixed)

    def step(self, request: EditRequest, done: Done) -> None:
        """One more edit of the model in its current state."""
        model, workload = self.model, self.workload

        def edit() -> None:
            done.deltas.append(self.edit_one(request))

        def measure() -> None:
            with done.deltas[-1].applied(model.model):
                done.perplexities.append(reference.perplexity(model, workload.texts))

        done.seconds["edit"] += seconds(edit, model.device)
        done.seconds["perplexity"] += seconds(measure, model.device)
