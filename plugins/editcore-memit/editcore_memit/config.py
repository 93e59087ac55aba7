"""Options of MEMIT; the defaults are the published ones for GPT-2 XL."""

from editcore import MomentWeight, SpreadingOptions


class MemitConfig(SpreadingOptions):
    """MEMIT (Meng et al. 2023, §4 and appendix B)."""

    moment_weight: MomentWeight = 20_000.0
