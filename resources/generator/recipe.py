"""The settings that determine a bundled model's weights, besides architecture and world."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Stretch:
    """Consecutive steps with one cosine of the learning rate.

    In `near_share` of the steps, the early blocks attend only to the nearest tokens. `mix` names
    the text; with `restart`, the optimiser begins without its earlier state.
    """

    steps: int
    learning_rate: float
    warm_up: int = 0
    near_share: float = 0.0
    mix: str = "world"
    restart: bool = False


@dataclass(frozen=True)
class Recipe:
    """The stretches of a training run, and the settings common to all of them."""

    stretches: tuple[Stretch, ...] = (Stretch(10_000, 1.5e-3, warm_up=300),)
    seed: int = 1
    rows: int = 16
    final_share: float = 0.02
    weight_decay: float = 0.3
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    sink_weight: float = 0.3
    sink_from: int = 5_000
    near_blocks: tuple[int, ...] = (0, 1, 2)
    checkpoint_every: int = 1_000
    compiled: bool = True

    def starts(self) -> list[int]:
        """Return the step at which each stretch begins."""
        return [sum(s.steps for s in self.stretches[:i]) for i in range(len(self.stretches))]

    def at(self, step: int) -> tuple[Stretch, int]:
        """Return the stretch that a step belongs to, and how many of its steps came before.

        Raises:
            ValueError: the step is after the last stretch.
        """
        for start, stretch in zip(self.starts(), self.stretches, strict=True):
            if start <= step < start + stretch.steps:
                return stretch, step - start
        raise ValueError(f"step {step} is after the last stretch of the recipe")


RECIPES = {
    "tiny-gpt2": Recipe(),
    "tiny-llama": Recipe(
        stretches=(
            Stretch(10_000, 1.5e-3, warm_up=300),
            Stretch(1_500, 8e-4, near_share=0.75),
            Stretch(3_000, 1.2e-3, warm_up=100, near_share=0.5, mix="reading", restart=True),
            Stretch(2_500, 1.5e-3, warm_up=100, near_share=0.25, mix="rereading"),
        )
    ),
    "tiny-t5": Recipe(
        stretches=(Stretch(1_000, 3e-3, warm_up=100),),
        weight_decay=0.1,
        sink_from=1_000,
        checkpoint_every=250,
        compiled=False,
    ),
}


def rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine down to `final_share`."""
    stretch, done = recipe.at(step)
    if done < stretch.warm_up:
        return stretch.learning_rate * (done + 1) / stretch.warm_up
    share = (done - stretch.warm_up) / max(1, stretch.steps - stretch.warm_up)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return stretch.learning_rate * (recipe.final_share + (1 - recipe.final_share) * cosine)
