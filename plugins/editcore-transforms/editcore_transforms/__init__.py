"""Transforms of any editor's weight change: RECT, SPHERE and PRUNE."""

from collections.abc import Iterator

from editcore import DeltaTransformInfo, hookimpl
from editcore_transforms.config import PruneConfig, RectConfig, SphereConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_delta_transforms() -> Iterator[DeltaTransformInfo]:
    """The three transforms."""
    yield DeltaTransformInfo(
        name="rect",
        summary="Keeps the numbers of a change that are largest relative to their weight.",
        paper="Gu et al. 2024, Model Editing Harms General Abilities of Large Language Models: "
        "Regularization to the Rescue",
        config=RectConfig,
        factory="editcore_transforms.rect:rect",
    )
    yield DeltaTransformInfo(
        name="sphere",
        summary="Damps a change along the directions that the weight's neurons share.",
        paper="Liu et al. 2025, Energy-Regularized Sequential Model Editing on Hyperspheres",
        config=SphereConfig,
        factory="editcore_transforms.sphere:sphere",
    )
    yield DeltaTransformInfo(
        name="prune",
        summary="Restrains the large singular values of all edits' change together.",
        paper="Ma et al. 2025, Perturbation-Restrained Sequential Model Editing",
        config=PruneConfig,
        factory="editcore_transforms.prune:prune",
        accumulated=True,
    )
