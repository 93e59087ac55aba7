"""The change of a linear map that fits value differences at many keys by ridge regression.

ΔW = Vᵀ (K Kᵀ + λI)⁻¹ K minimises ‖K ΔWᵀ − V‖² + λ‖ΔW‖² for keys K `[token, d_in]` and differences
V `[token, d_out]` (Tan et al. 2024, where they are columns).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from editcore.toolkit import DenseUpdate, LowRankUpdate, Update, weigh_against, weigh_ridge


@dataclass(frozen=True)
class RidgeFit:
    """K, V, and M = (K Kᵀ + λI)⁻¹ K `[token, d_in]`, so that ΔW = Vᵀ M."""

    keys: Tensor
    differences: Tensor
    weights: Tensor

    @classmethod
    def of(cls, keys: Tensor, differences: Tensor, ridge: float) -> "RidgeFit":
        """Solve in float64 for λ = `ridge`; the system is as large as the tokens or as d_in."""
        count, width = keys.shape
        if count > width:
            eye = torch.eye(width, dtype=torch.float64)
            weighed = weigh_against(keys.T, ridge * eye)
        else:
            weighed = weigh_ridge(keys.T, ridge)
        return cls(keys, differences, weighed.T.to(differences))

    def change(self) -> Tensor:
        """ΔW, `[d_out, d_in]`."""
        return self.differences.T @ self.weights

    def update(self, scale: float) -> Update:
        """`scale` · ΔW, as factors if there are fewer tokens than rows and columns."""
        if len(self.keys) < min(self.keys.shape[1], self.differences.shape[1]):
            outputs = scale * self.differences.T
            return LowRankUpdate(outputs.contiguous(), self.weights.T.contiguous())
        return DenseUpdate(scale * self.change())

    def pulled_back(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """From ∂L/∂ΔW `[d_out, d_in]`: ∂L/∂V `[token, d_out]` and ∂L/∂θ for λ = e^θ, a number.

        ∂L/∂V is M (∂L/∂ΔW)ᵀ, and ∂L/∂θ is −⟨∂L/∂V, λ (K Kᵀ + λI)⁻¹ V⟩. The second factor is
        V − K ΔWᵀ, what the fit leaves, so nothing is solved again.
        """
        of_differences = self.weights @ gradient.T
        left = self.differences.double() - self.keys.double() @ self.change().double().T
        return of_differences, -(of_differences.double() * left).sum()
