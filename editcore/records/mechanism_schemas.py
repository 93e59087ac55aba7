"""The tables of the mechanism: every column with its meaning.

Bare keys are kᵘ, mean keys k̄. Intervals are of 95 %: by bootstrap over cases for distances,
Wilson's for shares.
"""

from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa

from editcore.records.columns import Column, described, flag, real, schema, small, text, whole
from editcore.records.schemas import CASE_KEYS, CASES, GROUP, STORED

# The two sets of cases, and the key strategies of the updates, as the tables name them.
COLLAPSE, NORMAL = "collapse", "normal"
STRATEGIES = ("mixed", "prefixed", "unprefixed")

_MODEL = text("model", "the model's label in the study")
_SET = (
    text("cases", "the set that the case belongs to: `collapse` or `normal`"),
    whole("case_id", "the case's number in the data set"),
)
_PERPLEXITIES = (
    real("perplexity", "perplexity of the edited model; inf if it is not finite"),
    real("perplexity_base", "perplexity of the unedited model"),
)
_OF_CASES = {column.name: column for column in described(CASES)}
_KEPT = _OF_CASES["top1_kept"]
_VERDICTS = tuple(
    _OF_CASES[name] for name in ("collapsed", "collapsed_perplexity", "collapsed_ratio", "grade")
)
_METRIC = text("metric", "`cosine`: 1 − cosine; `mahalanobis`: √((a − b)ᵀC⁻¹(a − b))")


def _interval(mean: str, low: str, high: str, meaning: str) -> tuple[Column, ...]:
    return (
        real(mean, meaning),
        real(low, f"lower end of the interval of `{mean}`"),
        real(high, f"upper end of the interval of `{mean}`"),
    )


_UPDATE_KEYS = ("model", "cases", "case_id", "strategy", "second_moment")
_UPDATES = (
    _MODEL,
    *_SET,
    text("strategy", "the key strategy of the update: `mixed`, `prefixed` or `unprefixed`"),
    flag("second_moment", "whether the update uses C"),
    text("subject", "the fact's subject"),
    whole("subject_position", "index of the subject's last token in the bare prompt"),
    whole("subject_tokens", "tokens of the subject"),
    real(
        "token_frequency",
        "share of the subject's last token among the tokens of the texts of `moments`",
    ),
    real("numerator_norm", "norm of the residual that the update adds at the key"),
    real("denominator", "absolute value of the update's denominator"),
    *_PERPLEXITIES,
    _KEPT,
    STORED,
)

UPDATES = schema("mechanism-updates/3", _UPDATE_KEYS, _UPDATES)

UPDATES_JUDGED = schema("mechanism-updates-judged/2", _UPDATE_KEYS, (*_UPDATES, *_VERDICTS))

DISTANCES = schema(
    "mechanism-distances/2",
    ("model", "first", "second", "metric"),
    (
        _MODEL,
        text(
            "first",
            "a cloud: `collapse` or `normal` with `bare`, `mean` or `direction` (C⁻¹k̄); `first "
            "token` of normal prompts, each different token once; `collapse prefixed`, after the "
            "longest prefix",
        ),
        text("second", "another cloud, or the same"),
        _METRIC,
        *_interval(
            "mean",
            "low",
            "high",
            "mean distance over all pairs of members; within one cloud, members are not compared "
            "with themselves",
        ),
        whole("n_first", "members of the first cloud"),
        whole("n_second", "members of the second cloud"),
        STORED,
    ),
    required=("n_first", "n_second"),
)

POINTS = schema(
    "mechanism-points/2",
    ("model", "panel", "method", "cloud", "number"),
    (
        _MODEL,
        text(
            "panel",
            "the clouds that are projected together; in `directions`, each vector has length one",
        ),
        text("method", "`pca` or `t-sne`"),
        text("cloud", "the cloud that the point belongs to"),
        whole("number", "number of the point in its cloud, from 0"),
        real("x", "first coordinate"),
        real("y", "second coordinate"),
        real("explained_x", "share of variance of the first component; null for t-SNE"),
        real("explained_y", "share of variance of the second component; null for t-SNE"),
        STORED,
    ),
)

MOVED = schema(
    "mechanism-moved/2",
    ("model", "length", "reference", "metric"),
    (
        _MODEL,
        whole("length", "length of the prefix, cut from the texts at random", "tokens"),
        text("reference", "the set of bare keys used as reference: `collapse` or `normal`"),
        _METRIC,
        *_interval("mean", "low", "high", "mean distance of the keys after the prefix to those"),
        real(
            "gap",
            "energy distance: twice `mean`, minus the mean distances within both clouds; about 0 "
            "if both have the same distribution",
        ),
        real(
            "nearest",
            "share of the moved keys whose nearest bare key, other than their own case's, is in "
            "this set",
        ),
        whole("n", "cases"),
        STORED,
    ),
    required=("n",),
)

DEPTH = schema(
    "mechanism-depth/2",
    ("model", "part", "layer", "position"),
    (
        _MODEL,
        text("part", "`decoder`, or `encoder` for the T5"),
        whole("layer", "number of the block, from 0"),
        whole("position", "position in rows of 16 tokens that begin anywhere, from 0"),
        real("key_norm", "mean norm of the position's keys"),
        real(
            "key_cosine",
            "their mean cosine to the mean key of all positions later than the first",
        ),
        real("state_norm", "mean norm of the block's output there"),
        real("state_cosine", "its mean cosine to the mean output of later positions"),
        *_interval(
            "distance",
            "distance_low",
            "distance_high",
            "mean 1 − cosine of the position's keys to keys of later positions",
        ),
        real("within", "mean 1 − cosine among the position's keys"),
        real("gap", "energy distance of its keys to those of later positions"),
        whole("n", "rows"),
        STORED,
    ),
    required=("n",),
)

_POSITION_KEYS = ("model", "cases", "case_id", "swapped")
_POSITIONS = (
    _MODEL,
    *_SET,
    flag(
        "swapped",
        "whether the subject is at the other position: the second for collapse cases whose subject "
        "is the first token, the first for normal cases whose subject ends at the second",
    ),
    real("key_cosine", "cosine of kᵘ to kᵘ at its own position"),
    real("denominator", "absolute value of the update's denominator (mixed keys, with C)"),
    *_PERPLEXITIES,
    _KEPT,
    STORED,
)

POSITIONS = schema("mechanism-positions/3", _POSITION_KEYS, _POSITIONS)

POSITIONS_JUDGED = schema("mechanism-positions-judged/2", _POSITION_KEYS, (*_POSITIONS, *_VERDICTS))

SHARED = schema(
    "mechanism-shared/1",
    ("model", "quantity"),
    (
        _MODEL,
        text(
            "quantity",
            "`subject_position`, `subject_tokens`, `token_frequency` or `denominator`, under mixed "
            "keys with C",
        ),
        real(
            "auc",
            "how often a case that collapses the model has a smaller value than one that does not; "
            "ties count half",
        ),
        real("mean_collapsed", "its mean over the cases that collapse the model"),
        real("mean_others", "its mean over the others"),
        whole("n_collapsed", "cases that collapse the model"),
        whole("n_others", "the others"),
    ),
)

PROMPTING = schema(
    "mechanism-prompting/1",
    ("model", "editor", "dataset", "prefixed", "metric"),
    (
        _MODEL,
        text("editor", "the editor's label in the study"),
        text("dataset", "the data set's label in the study"),
        text(
            "prefixed",
            "the prompts that are tested after a prefix: `none`; `rewrite`, only the edited "
            "prompt, as published; `all`, paraphrases and neighbours too",
        ),
        text("metric", "`efficacy`, `generalization` or `locality`"),
        *_interval("share", "low", "high", "mean share of target tokens"),
        whole("n", "edits"),
    ),
    required=("n",),
)

# The tables of one model's job, by file name.
TABLES: Mapping[str, pa.Schema] = MappingProxyType(
    {
        "updates": UPDATES,
        "distances": DISTANCES,
        "points": POINTS,
        "moved": MOVED,
        "depth": DEPTH,
        "positions": POSITIONS,
    }
)
# The same tables in the summary, for all models, with verdicts on edited models.
GATHERED: Mapping[str, pa.Schema] = MappingProxyType(
    {**TABLES, "updates": UPDATES_JUDGED, "positions": POSITIONS_JUDGED}
)
# The tables derived from those and from the edits.
DERIVED: Mapping[str, pa.Schema] = MappingProxyType({"shared": SHARED, "prompting": PROMPTING})

WEIGHTS = schema(
    "weight_change/1",
    (*CASE_KEYS, "parameter", "row", "column"),
    (
        *GROUP,
        whole("case_id", "the case's number in the data set"),
        text("parameter", "the first matrix that the edit changes"),
        small("row", "row of the block (at most 40 rows)"),
        small("column", "column of the block (at most 80 columns)"),
        real("change", "the largest absolute element of ΔW in the block"),
        whole("d_out", "rows of the matrix"),
        whole("d_in", "columns of the matrix"),
        flag("collapsed", "the verdict on the edit"),
        real("perplexity", "perplexity of the edited model"),
    ),
)
