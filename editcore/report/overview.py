"""What was run: models, editors, data sets, settings, versions and time, as words."""

import json
from collections.abc import Mapping
from typing import Any

from editcore.report.numbers import duration, number, plural
from editcore.report.study import Study
from editcore.report.tables import Table


def model_table(study: Study) -> Table:
    """The models, where they came from and how they ran."""
    rows = []
    for label in study.models:
        choice = study.config.models.get(label)
        source = (choice.source or label) if choice else label
        run = (choice.dtype, choice.device) if choice else ("–", "–")
        edits = len(study.made(model=label))
        rows.append((label, source, *run, f"{edits:,}", number(study.base(label))))
    heads = ("model", "source", "number type", "device", "edits", "perplexity unedited")
    return Table("Models.", heads, tuple(rows), 4)


def editor_table(study: Study) -> Table:
    """The editors with their options, and what their rows say about keys and C."""
    rows = []
    for label in study.editors:
        choice = study.config.editors.get(label)
        uses = (choice.uses or label) if choice else label
        options = dict(choice.options) if choice else {}
        special = dict(choice.options_by_model) if choice else {}
        options |= {f"on {model}": values for model, values in special.items()}
        made = study.made(editor=label)
        strategies = made["key_strategy"].drop_nulls().unique().sort().to_list()
        moment = made["second_moment"].drop_nulls().unique().sort().to_list()
        rows.append((label, uses, _options(options), _either(strategies), _either(moment)))
    heads = ("editor", "uses", "options", "keys", "with C")
    return Table(
        "Editors. Options that are not named have the editor’s defaults.", heads, tuple(rows), 5
    )


def dataset_table(study: Study) -> Table:
    """The data sets, their files and how many cases of them were edited."""
    rows = []
    for label in study.datasets:
        choice = study.config.datasets.get(label)
        cases = study.cases.filter(study.cases["dataset"] == label)
        rows.append((label, choice.path if choice else "–", f"{cases['case_id'].n_unique():,}"))
    return Table("Data sets.", ("data set", "file", "cases"), tuple(rows), 2)


def settings(study: Study) -> list[tuple[str, str]]:
    """The remaining settings, the time that the edits took, and the versions that made them."""
    config = study.config
    rule = {
        "ratio": f"more than {number(config.collapse.ratio)} times the unedited perplexity",
        "perplexity": f"perplexity above {number(config.collapse.perplexity)}",
    }[config.collapse.verdict]
    texts = f"{plural(config.perplexity.texts, 'text')} of {config.perplexity.path}"
    lengths = ", ".join(f"{n} of {tokens} tokens" for tokens, n in config.prefixes.lengths)
    seconds = float(study.made()["seconds"].sum())
    return [
        ("Edits", f"{len(study.cases):,}, of which {len(study.made()):,} could be made"),
        ("Collapse", rule),
        ("Perplexity", texts),
        ("Prefixes", lengths),
        ("Seed", str(config.seed)),
        ("Time of the edits", f"{duration(seconds)} of computing"),
        *provenance_lines(study.provenance),
    ]


def provenance_lines(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The provenance of the tables, one line per fact.

    >>> provenance_lines({"files": 2, "edits": {"versions": {"torch": "2.13"}, "seed": [0, 1]}})
    [('Files', '2'), ('Versions', 'torch 2.13'), ('Seed of the edits', '0, 1')]
    """
    lines = []
    for name, value in provenance.items():
        if name == "edits":
            lines += [(_title(n, value[n]), _words(value[n])) for n in value if value[n] != {}]
        else:
            lines.append((_title(name, value, made=False), _words(value)))
    return lines


def _title(name: str, value: Any, made: bool = True) -> str:
    title = name.replace("_", " ").capitalize()
    return title if isinstance(value, Mapping) or not made else f"{title} of the edits"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def _options(options: Mapping[str, Any]) -> str:
    pairs = (f"{name} {_words(value)}" for name, value in options.items())
    return "; ".join(pairs) or "the defaults"


def _either(values: list[Any]) -> str:
    words = ["yes" if v is True else "no" if v is False else str(v) for v in values]
    return " or ".join(words) or "–"
