"""The schemas of the mechanism's tables; `cases` is the set a case is from: collapse or normal."""

from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa

from editcore.records.tables import schema

TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

UPDATES = schema(
    "mechanism-updates/1",
    ("model", "cases", "case_id", "strategy", "second_moment"),
    {
        "model": TEXT,
        "cases": TEXT,
        "case_id": WHOLE,
        "strategy": TEXT,
        "second_moment": FLAG,
        "subject": TEXT,
        "subject_position": WHOLE,
        "subject_tokens": WHOLE,
        "token_frequency": REAL,
        "numerator_norm": REAL,
        "denominator": REAL,
        "perplexity": REAL,
        "perplexity_base": REAL,
        "collapsed": FLAG,
    },
)

DISTANCES = schema(
    "mechanism-distances/1",
    ("model", "first", "second", "metric"),
    {
        "model": TEXT,
        "first": TEXT,
        "second": TEXT,
        "metric": TEXT,
        "mean": REAL,
        "low": REAL,
        "high": REAL,
        "n_first": WHOLE,
        "n_second": WHOLE,
    },
)

POINTS = schema(
    "mechanism-points/1",
    ("model", "panel", "method", "cloud", "number"),
    {
        "model": TEXT,
        "panel": TEXT,
        "method": TEXT,
        "cloud": TEXT,
        "number": WHOLE,
        "x": REAL,
        "y": REAL,
        "explained_x": REAL,
        "explained_y": REAL,
    },
)

MOVED = schema(
    "mechanism-moved/1",
    ("model", "length", "reference", "metric"),
    {
        "model": TEXT,
        "length": WHOLE,
        "reference": TEXT,
        "metric": TEXT,
        "mean": REAL,
        "low": REAL,
        "high": REAL,
        "gap": REAL,
        "nearest": REAL,
        "n": WHOLE,
    },
)

DEPTH = schema(
    "mechanism-depth/1",
    ("model", "part", "layer", "position"),
    {
        "model": TEXT,
        "part": TEXT,
        "layer": WHOLE,
        "position": WHOLE,
        "key_norm": REAL,
        "key_cosine": REAL,
        "state_norm": REAL,
        "state_cosine": REAL,
        "distance": REAL,
        "distance_low": REAL,
        "distance_high": REAL,
        "within": REAL,
        "gap": REAL,
        "n": WHOLE,
    },
)

POSITIONS = schema(
    "mechanism-positions/1",
    ("model", "cases", "case_id", "swapped"),
    {
        "model": TEXT,
        "cases": TEXT,
        "case_id": WHOLE,
        "swapped": FLAG,
        "key_cosine": REAL,
        "denominator": REAL,
        "perplexity": REAL,
        "perplexity_base": REAL,
        "collapsed": FLAG,
    },
)

SHARED = schema(
    "mechanism-shared/1",
    ("model", "quantity"),
    {
        "model": TEXT,
        "quantity": TEXT,
        "auc": REAL,
        "mean_collapsed": REAL,
        "mean_others": REAL,
        "n_collapsed": WHOLE,
        "n_others": WHOLE,
    },
)

PROMPTING = schema(
    "mechanism-prompting/1",
    ("model", "editor", "dataset", "prefixed", "metric"),
    {
        "model": TEXT,
        "editor": TEXT,
        "dataset": TEXT,
        "prefixed": TEXT,
        "metric": TEXT,
        "share": REAL,
        "low": REAL,
        "high": REAL,
        "n": WHOLE,
    },
)

# What a model's job writes, by file name, and what is made of it and of the edits beside that.
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
DERIVED: Mapping[str, pa.Schema] = MappingProxyType({"shared": SHARED, "prompting": PROMPTING})
