"""The rows of a search for v* that run again in every step, and where they predict the target."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from editcore.keyvalue.value import ValueProblem
from editcore.models.kv_cache import KeysValues


@dataclass(frozen=True)
class Places:
    """Where tokens are predicted: row, column, token, case and weight in its loss.

    `sampled` is whether the row has a sampled template, not the bare prompt.
    """

    row: Int[Tensor, " place"]
    column: Int[Tensor, " place"]
    token: Int[Tensor, " place"]
    case: Int[Tensor, " place"]
    weight: Float[Tensor, " place"]
    sampled: Bool[Tensor, " place"]


@dataclass(frozen=True)
class Rows:
    """The columns of every row that run again (the suffix), and what is constant before them.

    `states` are those after the last block that does not run again, None if all do; `past` is the
    KV cache of the columns before the suffix, `mask` covers both; `kl` are the cases' KL rows.
    """

    ids: Int[Tensor, "row position"]
    mask: Int[Tensor, "row whole"]
    positions: Int[Tensor, "row position"]
    case: Int[Tensor, " row"]
    subject: Int[Tensor, " row"]
    kl: Int[Tensor, " case"]
    states: Float[Tensor, "row position d_model"] | None
    past: KeysValues
    places: Places

    def keep(self, cases: Int[Tensor, " kept"]) -> "Rows":
        """The rows of `cases` (ascending), rows and cases renumbered."""
        rows = torch.isin(self.case, cases).nonzero()[:, 0]
        chosen = torch.isin(self.places.case, cases)
        places = Places(*(column[chosen] for column in vars(self.places).values()))
        return Rows(
            self.ids[rows],
            self.mask[rows],
            self.positions[rows],
            torch.searchsorted(cases, self.case[rows]),
            self.subject[rows],
            torch.searchsorted(rows, self.kl[cases]),
            None if self.states is None else self.states[rows],
            [(keys[rows], values[rows]) for keys, values in self.past],
            replace(
                places,
                row=torch.searchsorted(rows, places.row),
                case=torch.searchsorted(cases, places.case),
            ),
        )


def find_places(problems: Sequence[ValueProblem], suffix: int, device: torch.device) -> Places:
    """The places of the target's tokens under every template, as columns of the suffix."""
    places: list[tuple[int, int, int, int, float, bool]] = []
    first_row = 0
    for case, problem in enumerate(problems):
        templates, length = len(problem.prompts), len(problem.target)
        weight = 1 / (templates * length)
        places += [
            (row, suffix - length + i, token, case, weight, row > first_row)
            for row in range(first_row, first_row + templates)
            for i, token in enumerate(problem.target)
        ]
        first_row += templates + 1
    return Places(*(torch.tensor(column, device=device) for column in zip(*places, strict=True)))
