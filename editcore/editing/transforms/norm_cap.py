"""A bound on the size of each parameter's update."""

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from editcore.config.options import TransformConfig

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel
    from editcore.updates.delta import Delta, Update


class NormCapConfig(TransformConfig):
    """Options of `norm_cap`."""

    ratio: PositiveFloat = Field(
        description="Largest Frobenius norm of an update, relative to its parameter's."
    )


def norm_cap(delta: "Delta", model: "LoadedModel", config: NormCapConfig) -> "Delta":
    """Scale each parameter's ΔW so that ‖ΔW‖ ≤ ratio·‖W‖; smaller updates keep their bits."""

    def capped(name: str, update: "Update") -> "Update":
        norm = update.norm()
        limit = config.ratio * float(model.model.get_parameter(name).double().norm())
        return update.scaled(limit / norm) if norm > limit else update

    return replace(delta, updates={n: capped(n, u) for n, u in delta.updates.items()})
