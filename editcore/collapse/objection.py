"""Why an edit should not be kept: what it would do to its model, in words."""

from collections.abc import Mapping
from typing import Any

from editcore.collapse.verdict import HARMFUL, judge
from editcore.config.collapse import CollapseSection, Harm
from editcore.numbers import in_percent, number, times


def objection(row: Mapping[str, Any], rule: CollapseSection, harm: Harm) -> str:
    """Why an edit after which the model is measured as in `row` should not be kept.

    Empty if it does less than this harm. The row has `perplexity`, `perplexity_base`,
    `perplexity_ratio`, `top1_kept` and `denominator`, as rows of edits and of sequences do.
    """
    verdict = judge(row["perplexity"], row["perplexity_base"], rule, row["top1_kept"])
    if verdict.grade not in HARMFUL[harm]:
        return ""
    change = f"{number(row['perplexity_base'])} → {number(row['perplexity'])}"
    perplexity = f"perplexity {change} ({times(row['perplexity_ratio'])})"
    found = f"the model would collapse, {perplexity}"
    if not verdict.collapsed:
        changed = in_percent(1 - row["top1_kept"])
        found = (
            f"the model would be damaged, another next token the likeliest at {changed} of tokens "
            f"(the limit is {in_percent(rule.damage)}), {perplexity}"
        )
    if row["denominator"] is None:
        return found
    return f"{found}; the denominator of the update is {number(row['denominator'])}"
