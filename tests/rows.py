"""Synthetic edit rows for the tests of tables and pages, with failures and infinities."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from editcore.collapse.verdict import judged
from editcore.config.collapse import CollapseSection
from editcore.records.metric_columns import FREE_COLUMNS, METRIC_COLUMNS
from editcore.records.schemas import EDITS

# The columns that differ from run to run.
CLOCKS = ("seconds", "seconds_editing", "peak_memory")
BASE = 4.0
# Shares of unchanged predictions on both sides of the default threshold.
SOUND, DAMAGED = 1 - 0.1 * CollapseSection().damage, 1 - 2 * CollapseSection().damage


def edit_row(
    case_id: int,
    perplexity: float = 4.1,
    denominator: float | None = 2.4,
    *,
    model: str = "small",
    editor: str = "alpha",
    dataset: str = "hard",
    **changes: Any,
) -> dict[str, Any]:
    """One successful edit whose numbers are consistent."""
    row = dict.fromkeys(EDITS.names) | {
        "model": model,
        "editor": editor,
        "dataset": dataset,
        "case_id": case_id,
        "status": "ok",
        "subject": f"Word{case_id}",
        "prompt": "{} is made by" if dataset == "hard" else "The maker of {} is",
        "target_new": "Osdor",
        "target_true": "Elro",
        "relation": "maker",
        "facts": 1,
        "subject_start": 0 if dataset == "hard" else 13,
        "subject_tokens": 1 if dataset == "hard" else 2,
        "subject_position": 0 if dataset == "hard" else 5,
        "numerator_norm": 12.0,
        "denominator": denominator,
        "key_match": None if denominator is None else denominator / 5,
        "exposure": None if denominator is None else 0.2 / (denominator or 1.0),
        "delta_norm": 3.0,
        "weight_norm": 80.0,
        "warning": 0.4 / (denominator or 1.0),
        "output_change": 0.8 / (denominator or 1.0),
        "sample_changed": min(1.0, 0.1 / (denominator or 1.0)),
        "sample_ratio": perplexity / BASE,
        "steps": 20,
        "perplexity": perplexity,
        "perplexity_base": BASE,
        "perplexity_ratio": perplexity / BASE,
        "perplexity_corpus": perplexity,
        "nll_sum": 1000.0,
        "token_count": 700,
        "nonfinite_tokens": 3 if math.isinf(perplexity) else 0,
        "kl_mean": math.inf if math.isinf(perplexity) else 0.01,
        "kl_upper": math.inf if math.isinf(perplexity) else 0.1,
        "top1_kept": SOUND,
        **dict.fromkeys(METRIC_COLUMNS, 0.5),
        "efficacy_prefixed_n": 5,
        "efficacy_all_facts": None,
        **dict.fromkeys(FREE_COLUMNS, 1.0),
        "continuation_base": " Elro. The sea is quiet",
        "continuation": "" if math.isinf(perplexity) else f" Osdor.\n of {case_id}",
        "known": True,
        "test_prefix": "The day was long. ",
        "took": True,
        "seconds": 0.25,
        "seconds_editing": 0.125,
        "change_bytes": 2304,
        "peak_memory": 1_250_000_000,
        "key_strategy": "mixed",
        "second_moment": True,
        "seed": 0,
        "dtype": "float32",
        "precision": "float32",
        "prefixes_hash": "abc123",
    }
    return row | changes


def judged_rows(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The rows as `summarise` judges them, by the default thresholds."""
    return judged(pl.DataFrame(rows, infer_schema_length=None), CollapseSection())


def failed_row(case_id: int, status: str = "target too long", **changes: Any) -> dict[str, Any]:
    """A failed edit: what is known about the case, and the reason."""
    known = ("model", "editor", "dataset", "case_id", "subject", "prompt", "target_new")
    full = edit_row(case_id, **changes)
    return {name: full[name] for name in (*known, "target_true", "seed")} | {"status": status}


def study_rows(hard: int = 40, normal: int = 60) -> list[dict[str, Any]]:
    """Two models, two editors: `alpha` collapses half of the hard cases, and damages a quarter."""
    draw = random.Random(0)
    rows = []
    for model in ("small", "large"):
        for case in range(hard):
            bad = case % 2 == 0
            perplexity = BASE * 10 ** draw.uniform(1.5, 4) if bad else draw.uniform(4, 6)
            denominator = 10 ** draw.uniform(-2, -0.5) if bad else draw.uniform(0.5, 1)
            if case == 4:
                perplexity = math.inf
            where: dict[str, Any] = {"model": model, "dataset": "hard"}
            if case % 4 == 1:
                where["top1_kept"] = DAMAGED
            rows.append(edit_row(case, perplexity, denominator, editor="alpha", **where))
            where.pop("top1_kept", None)
            rows.append(edit_row(case, draw.uniform(4, 4.2), 2.0, editor="beta", **where))
        for case in range(1000, 1000 + normal):
            where = {"model": model, "dataset": "normal"}
            for editor in ("alpha", "beta"):
                values = draw.uniform(4, 4.3), draw.uniform(1, 4)
                rows.append(edit_row(case, *values, editor=editor, **where))
        rows.append(failed_row(hard, model=model, editor="alpha", dataset="hard"))
    return rows
