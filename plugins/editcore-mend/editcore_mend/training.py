"""Trains the network of one model, with Adam, checkpoints, and early stopping by validation."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch

from editcore import EditcoreError, EditRequest
from editcore.toolkit import Checkpoint, LoadedModel, Progress, TrainedParts, progress_bar
from editcore_mend import sites
from editcore_mend.config import NetworkConfig
from editcore_mend.examples import Example, Examples, Tally
from editcore_mend.losses import Losses, Pose
from editcore_mend.network import MendNetwork, NetworkT
from editcore_mend.split import Split

# Number of edits to validate on.
VALIDATION = 96
PosedT = TypeVar("PosedT")


class Training(ABC, Generic[NetworkT, PosedT]):
    """One network in training; what a step draws depends only on the seed and the step's number.

    A subclass poses the examples of a step, and knows their losses and the network's gradient.
    """

    gradient_limit: ClassVar[float]
    together: ClassVar[bool]

    def __init__(
        self,
        model: LoadedModel,
        config: NetworkConfig,
        network: NetworkT,
        split: Split,
        seed: int,
    ) -> None:
        self._model, self._config, self._seed = model, config, seed
        self._sites = sites.find(model, config.layers, config.only_down)
        self._examples = self._of(split.train)
        self._require(split)
        self._validation = self._posed(split)
        self.network = network.to(model.device)
        numbers = self.network.numbers_of_sites()
        apart = set(map(id, numbers))
        rest = [p for p in self.network.parameters() if id(p) not in apart]
        self._adam = torch.optim.Adam(
            [
                {"params": rest, "lr": config.learning_rate},
                {"params": numbers, "lr": config.step_learning_rate},
            ]
        )
        self._rates = [group["lr"] for group in self._adam.param_groups]
        self._step = 0
        self._history: list[dict[str, float]] = []
        self._best: dict[str, torch.Tensor] = {}

    @abstractmethod
    def _pose(self, examples: Sequence[Example]) -> PosedT:
        """A batch of examples with what the unedited model gives."""

    @abstractmethod
    def _see(self, posed: PosedT) -> None:
        """Add a batch to the network's statistics."""

    @abstractmethod
    def _losses(self, posed: PosedT) -> Losses:
        """The losses of a batch with the network's edits in place."""

    @abstractmethod
    def _differentiate(self, posed: PosedT) -> None:
        """Add the gradient of a batch's loss to those of the network's parameters."""

    def _of(self, facts: Sequence[EditRequest]) -> Examples:
        """Examples of some facts, of which none was drawn yet."""
        wanted = (self._config.paraphrases, self._config.neighbours)
        return Examples.of(self._model, facts, *wanted, together=self.together)

    def _posed(self, split: Split) -> list[PosedT]:
        """The validation edits under the unedited model, in batches, drawn with a fixed seed."""
        drawn, rng = self._of(split.validation), random.Random("validation")
        size = self._config.batch
        sizes = [min(size, VALIDATION - i) for i in range(0, VALIDATION, size)]
        batches = [drawn.draw(each, rng) for each in sizes]
        drawn.tally.require("validation")
        self._not_validated = drawn.tally
        return [self._pose(batch) for batch in batches if batch]

    def _require(self, split: Split) -> None:
        """Raise `DataError` early, from a trial draw, if too few examples can be posed."""
        trial = self._of(split.train)
        trial.draw(VALIDATION, random.Random("trial"))
        trial.tally.require("training")

    def run(self, checkpoint: Checkpoint) -> TrainedParts:
        """Train, from the checkpoint if there is one; returns the network that validated best."""
        if (kept := checkpoint.read()) is not None:
            self._restore(kept)
        config = self._config
        title = f"training on {self._model.name}"
        with progress_bar(total=config.steps, initial=self._step, title=title, unit="step") as bar:
            while self._step < config.steps and not self._exhausted():
                self._learn()
                self._step += 1
                if self._step % config.validate_every == 0 or self._step == config.steps:
                    bar.set_postfix(self._validate())
                bar.update()
                checkpoint.write_if_due(self._progress)
        best = min(self._history, key=lambda found: found["loss"])
        left_out = {"training": self._examples.tally, "validation": self._not_validated}
        about = {
            "best": best,
            "steps": self._step,
            "history": self._history,
            "left_out": {part: asdict(tally) for part, tally in left_out.items()},
        }
        return TrainedParts(self._best, about)

    def _learn(self) -> None:
        """One step; each batch is added to the statistics before the network sees it."""
        rng = random.Random(f"{self._seed}/{self._step}")
        examples = self._examples.draw(self._config.batch, rng)
        if not examples:
            return
        posed = self._pose(examples)
        self._see(posed)
        self._adam.zero_grad()
        self._differentiate(posed)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_limit)
        for group, rate in zip(self._adam.param_groups, self._rates, strict=True):
            group["lr"] = rate * (1 - self._step / self._config.steps)
        self._adam.step()

    def _loss(self, found: Losses) -> torch.Tensor:
        config = self._config
        return config.edit_weight * found.edit + config.locality_weight * found.locality

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Measure the network, and keep a copy if it is the best so far."""
        found = [self._losses(posed) for posed in self._validation]
        loss = float(torch.stack([self._loss(each) for each in found]).mean())
        if not torch.isfinite(torch.tensor(loss)):
            raise EditcoreError(
                f"the training loss is not finite at step {self._step}; lower learning_rate"
            )
        if loss < min((before["loss"] for before in self._history), default=float("inf")):
            self._best = {k: t.detach().clone() for k, t in self.network.state_dict().items()}
        self._history.append(
            {
                "step": self._step,
                "loss": loss,
                "edit": float(torch.stack([each.edit for each in found]).mean()),
                "locality": float(torch.stack([each.locality for each in found]).mean()),
                "generalization": sum(each.hits for each in found) / len(found),
                "agreement": sum(each.agreement for each in found) / len(found),
            }
        )
        return {name: round(value, 3) for name, value in self._history[-1].items()}

    def _exhausted(self) -> bool:
        """Whether the last `patience` validations were no better than the best before them."""
        losses = [found["loss"] for found in self._history]
        best = losses.index(min(losses)) if losses else 0
        return len(losses) - best > self._config.patience

    def _progress(self) -> Progress:
        parts: dict[str, Mapping[str, Any]] = {
            "network": self.network.state_dict(),
            "best": self._best,
            **{f"adam{i}": state for i, state in self._adam.state_dict()["state"].items()},
        }
        tally = asdict(self._examples.tally)
        return Progress.of(parts, {"step": self._step, "history": self._history, "tally": tally})

    def _restore(self, kept: Progress) -> None:
        self.network.load_state_dict(kept.part("network"))
        self._best = kept.part("best")
        groups = self._adam.state_dict()["param_groups"]
        numbers = [number for group in groups for number in group["params"]]
        states = {i: state for i in numbers if (state := kept.part(f"adam{i}"))}
        self._adam.load_state_dict({"state": states, "param_groups": groups})
        self._step = kept.state["step"]
        self._history = list(kept.state["history"])
        self._examples = replace(self._examples, tally=Tally(**kept.state["tally"]))


class MendTraining(Training[MendNetwork, Pose]):
    """MEND's: every example has a change of its own, through which its loss is differentiated."""

    gradient_limit = 10.0
    together = False

    def _pose(self, examples: Sequence[Example]) -> Pose:
        return Pose(self._model, self._sites, examples)

    def _see(self, posed: Pose) -> None:
        self.network.see(posed.factors)

    def _losses(self, posed: Pose) -> Losses:
        return posed.losses(self.network(posed.factors))

    def _differentiate(self, posed: Pose) -> None:
        self._loss(self._losses(posed)).backward()
