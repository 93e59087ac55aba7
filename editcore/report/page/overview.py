"""The study's models, editors, data sets, settings, versions and time, as text."""

import json
from collections.abc import Mapping
from typing import Any

from editcore.datasets.invented_world import perplexity_file
from editcore.numbers import duration, in_percent, number, plural
from editcore.report.data import ReportData
from editcore.report.section import PageSection, Part
from editcore.report.tables import Table


def model_table(study: ReportData) -> Table:
    """The models, their sources, and how they were run."""
    rows = []
    for label in study.models:
        choice = study.config.models.get(label)
        source = (choice.source or label) if choice else label
        run = (choice.dtype, choice.device) if choice else ("–", "–")
        edits = len(study.made(model=label))
        rows.append((label, source, *run, f"{edits:,}", number(study.base(label))))
    heads = ("model", "source", "number type", "device", "edits", "unedited perplexity")
    return Table("Models.", heads, tuple(rows), 4)


def editor_table(study: ReportData) -> Table:
    """The editors with their options, and the key strategy and C of their rows."""
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
        words = (_options(options), _either(strategies), _either(moment))
        rows.append((label, uses, _plugin(study, label), *words))
    heads = ("editor", "uses", "plugin", "options", "keys", "with C")
    caption = "Editors. Options that are not listed have the editor’s defaults."
    return Table(caption, heads, tuple(rows), len(heads))


def dataset_table(study: ReportData) -> Table:
    """The data sets, their files and the number of their cases that were edited."""
    rows = []
    for label in study.datasets:
        choice = study.config.datasets.get(label)
        file = choice.named if choice else None
        cases = study.cases.filter(study.cases["dataset"] == label)
        rows.append((label, file or "–", f"{cases['case_id'].n_unique():,}"))
    return Table("Data sets.", ("data set", "file", "cases"), tuple(rows), 2)


def section(study: ReportData) -> PageSection:
    """What was run, in one sentence, and its tables."""
    seconds = float(study.cases["seconds"].sum())
    point = (
        f"{plural(len(study.editors), 'editor')} made {plural(len(study.cases), 'edit')} of "
        f"{plural(len(study.models), 'model')}, {len(study.made()):,} of which succeeded, in "
        f"{duration(seconds)} of computation."
    )
    found = (model_table(study), editor_table(study), dataset_table(study), settings_table(study))
    return PageSection("run", "Settings", tables=found, point=point, part=Part.RUN)


def settings_table(study: ReportData) -> Table:
    """The remaining settings, and the versions used."""
    config = study.config
    sources = (model.source or label for label, model in config.models.items())
    files = sorted({perplexity_file(config.perplexity.named, source) for source in sources})
    texts = f"{plural(config.perplexity.texts, 'text')} of {' or '.join(files)}"
    lengths = ", ".join(f"{n} of {tokens} tokens" for tokens, n in config.prefixes.lengths)
    rows = (
        ("Collapse", f"perplexity above {study.collapse.in_words()}"),
        (
            "Damage",
            f"likeliest token changed at over {in_percent(study.collapse.damage)} of tokens",
        ),
        ("Perplexity", texts),
        ("Prefixes", lengths),
        ("Seed", str(config.seed)),
        *provenance_lines(study.provenance),
    )
    return Table("Other settings, and versions.", ("setting", "value"), rows, 2)


def provenance_lines(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the tables were made, one line per fact.

    >>> provenance_lines({"files": 2, "edits": {"versions": {"torch": "2.13"}, "host": ["a", "b"]}})
    [('Files of edits', '2'), ('Versions', 'torch 2.13'), ('Host', 'a, b')]
    """
    facts: dict[str, Any] = {
        "files of edits": provenance.get("files", "–"),
        **provenance.get("edits", {}),
    }
    if isinstance(code := facts.get("code"), list):
        facts["code"] = (
            f"{_words(code)}: these shards were made by different versions of editcore’s code"
        )
    return [(name.replace("_", " ").capitalize(), _words(value)) for name, value in facts.items()]


def _plugin(study: ReportData, editor: str) -> str:
    """The distribution and version that the rows of an editor were made with."""
    spec = study.provenance.get("editors", {}).get(editor, {})
    return " ".join(_words(spec[key]) for key in ("distribution", "version") if key in spec) or "–"


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
