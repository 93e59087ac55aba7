"""Adam for rows that end at different steps."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class RowAdam:
    """Adam (Kingma & Ba 2015, algorithm 1) on tensors that share their first dimension, the rows.

    Every number has its own moments, so leaving rows out changes nothing for the others.
    """

    def __init__(self, tensors: Sequence[Float[Tensor, " row ..."]], learning_rate: float) -> None:
        self.tensors = list(tensors)
        self._learning_rate = learning_rate
        self._first = [torch.zeros_like(tensor) for tensor in tensors]
        self._second = [torch.zeros_like(tensor) for tensor in tensors]
        self._steps = 0

    def step(self, gradients: Sequence[Float[Tensor, " row ..."]]) -> None:
        """Update every tensor in place, by one step."""
        self._steps += 1
        one, two = BETAS
        size = self._learning_rate / (1 - one**self._steps)
        correction = (1 - two**self._steps) ** 0.5
        for tensor, gradient, first, second in zip(
            self.tensors, gradients, self._first, self._second, strict=True
        ):
            first.lerp_(gradient, 1 - one)
            second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
            tensor.addcdiv_(first, second.sqrt().div_(correction).add_(EPSILON), value=-size)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Continue with these rows alone."""
        self.tensors = [tensor[rows] for tensor in self.tensors]
        self._first = [first[rows] for first in self._first]
        self._second = [second[rows] for second in self._second]
