"""Adam (Kingma and Ba 2015) over rows that are problems of their own and may leave."""

from dataclasses import dataclass, replace

import torch


@dataclass
class Adam:
    """Moments `[rows, width]` of one parameter; every row has taken the same number of steps.

    The update is elementwise, so that each row gets what `torch.optim.Adam` would give it alone.
    """

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    steps: int = 0
    mean: torch.Tensor | None = None
    square: torch.Tensor | None = None

    def step(self, parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The parameter after one more step, `[rows, width]`."""
        mean = torch.zeros_like(parameter) if self.mean is None else self.mean
        square = torch.zeros_like(parameter) if self.square is None else self.square
        first, second = self.betas
        self.steps += 1
        self.mean = torch.lerp(mean, gradient, 1 - first)
        self.square = torch.lerp(square, gradient**2, 1 - second)
        spread = (self.square / (1 - second**self.steps)).sqrt() + self.epsilon
        return parameter - self.learning_rate / (1 - first**self.steps) * self.mean / spread

    def keep(self, rows: torch.Tensor) -> "Adam":
        """The same for some of the rows, `[kept]` indices."""
        if self.mean is None or self.square is None:
            return self
        return replace(self, mean=self.mean[rows], square=self.square[rows])
