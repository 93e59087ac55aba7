"""Options of MEMIT-Seq; the defaults are those published for MEMIT on GPT-2 XL."""

from pydantic import Field, NonNegativeFloat

from editcore import MomentWeight, SpreadingOptions


class MemitSeqConfig(SpreadingOptions):
    """MEMIT with a memory of the keys that earlier edits of a sequence used."""

    moment_weight: MomentWeight = 20_000.0
    memory_weight: NonNegativeFloat = Field(
        1.0,
        description="Weight of the sum of K Kᵀ over earlier edits. Released: 1, as for the keys of "
        "the present edit. Raise it if later edits undo earlier ones; 0 is MEMIT.",
    )
