"""How v* is searched for: options that editors share, and by which found values are told apart."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ValueOptions(BaseModel):
    """Hyper-parameters of the search for v*; the defaults are the published ones for ROME.

    v* is a value of the MLP's output (ROME) or of the block's (MEMIT). Both are added to the same
    residual stream, so δ has the same effect; what differs is where it starts from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer: int
    site: Literal["mlp", "block"] = "mlp"
    steps: int = 20
    learning_rate: float = 0.5
    weight_decay: float = 0.5
    kl_factor: float = 0.0625
    clamp_norm_factor: float = 4.0
    stop_loss: float = 5e-2
