"""A check in words: the verdict, its reason, and the numbers behind it."""

import textwrap

from editcore.collapse.calibration import Forecast
from editcore.numbers import number, share, times
from editcore.runs.adhoc.check import CheckReport

SHOWN = (
    ("efficacy", "says the new object"),
    ("generalization", "says it to paraphrases"),
    ("locality", "leaves neighbours alone"),
)
WIDTH = 96
# Below this share of what another key strategy divides by, the denominator is the reason.
SMALL = 0.2
HALF = 0.5


def verdict(report: CheckReport) -> str:
    """Whether the model survives the edit, and by which rule."""
    row, rule = report.row, report.collapse
    change = f"perplexity {number(row['perplexity_base'])} → {number(row['perplexity'])}"
    limit = {
        "ratio": f"the limit is ×{number(rule.ratio)}",
        "perplexity": f"the limit is a perplexity of {number(rule.perplexity)}",
    }[rule.verdict]
    word = "COLLAPSED" if report.collapsed else "SAFE"
    return f"{word}: {change} ({times(report.ratio)}; {limit})."


def forecast(warning: Forecast) -> str:
    """What is to be expected of an edit before it is made."""
    expected = "a collapse is to be expected" if warning.collapse else "no collapse is expected"
    return (
        f"before the edit: {expected} (the change adds {times(warning.score)} of the layer's own "
        f"output; collapses begin at {times(warning.threshold)})"
    )


def reason(report: CheckReport) -> str:
    """Why, as far as keys and denominator tell: which key, which denominator."""
    row, keys = report.row, report.keys
    if row["denominator"] is None and row["delta_norm"] is None:
        return f"{report.job.editor.label} changes no weights."
    if row["denominator"] is None:
        return (
            f"{report.job.editor.label} divides by nothing; it changes weights of norm "
            f"{number(row['weight_norm'])} by {number(row['delta_norm'])}."
        )
    divided = f"The update is divided by {number(row['denominator'])}"
    if keys is None:
        return f"{divided}."
    best = max(keys.denominators, key=lambda name: keys.denominators[name])
    other = keys.denominators[best]
    divided += f" (key strategy {keys.strategy}, layer {keys.layer})"
    alike = (
        f"the bare key and the mean key of “{report.request.subject}” have cosine "
        f"{share(keys.cosine)}"
    )
    if row["denominator"] < SMALL * other:
        return (
            f"{divided}, against {number(other)} with the keys of {best}: {alike}; "
            f"{_place(report)}. A small denominator makes a large change: its norm is "
            f"{number(row['delta_norm'])}, that of the weights {number(row['weight_norm'])}."
        )
    return f"{divided}, the usual size for these keys: {alike}."


def page(report: CheckReport) -> str:
    """The whole check for people."""
    request, row = report.request, report.row
    lines = [
        f"{report.job.editor.label} on {report.job.model.name}: "
        f"{request.text} → {request.target_new}",
        "",
        verdict(report),
        textwrap.fill(reason(report), WIDTH),
        *([textwrap.fill(f"Said {forecast(report.warning)}.", WIDTH)] if report.warning else []),
        "",
    ]
    for name, words in SHOWN:
        bare, behind = row.get(name), row.get(f"{name}_prefixed")
        if bare is not None:
            lines.append(f"{name:<15}{share(bare)}, behind a prefix {share(behind)}   {words}")
    if not report.collapsed and (row.get("efficacy") or 0.0) < HALF:
        behind = (row.get("efficacy_prefixed") or 0.0) >= HALF
        said = (
            "says the new object only behind a prefix" if behind else "does not say the new object"
        )
        lines.append(f"The model survives, but it {said}.")
    lines += ["", "What it says, before and after:"]
    for each in report.continuations:
        lines += [
            f"  {each.prompt} …",
            f"    before: {_line(each.before)}",
            f"    after:  {_line(each.after)}",
        ]
    return "\n".join(lines)


def _line(text: str) -> str:
    """Text on one line, as what a model says may hold line breaks."""
    return " ".join(text.split()) or "(nothing: its probabilities are not finite)"


def _place(report: CheckReport) -> str:
    if report.row["subject_position"] == 0:
        return "the subject is the prompt's first token, which is unlike every other position"
    return f"its last token stands at position {report.row['subject_position']} of the prompt"
