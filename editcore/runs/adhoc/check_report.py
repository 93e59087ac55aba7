"""The report of a check: the verdict, its reason, and the measurements."""

import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from editcore.atomic import together, write_text
from editcore.collapse.forecast import Forecast
from editcore.collapse.verdict import COLLAPSED, DAMAGED, SOUND, Grade
from editcore.collapse.yardstick import Scale, in_words
from editcore.config.collapse import CollapseSection
from editcore.editing.diagnostics import from_json
from editcore.errors import ConfigError
from editcore.evaluation import effect
from editcore.numbers import in_percent, listed, number, plural, share, times
from editcore.runs.adhoc.html import table
from editcore.runs.adhoc.measured_with import MeasuredWith
from editcore.runs.adhoc.rounded_edit import RoundedEdit
from editcore.runs.adhoc.rounded_edit import table as rounded_table

if TYPE_CHECKING:
    from editcore.planning.jobs import EditJob
    from editcore.requests import EditRequest
    from editcore.updates.delta import Delta

WIDTH = 96
# A denominator below this share of another key strategy's is given as the reason.
SMALL = 0.2

Outcome = Literal["sound", "damaged", "collapsed", "without effect"]


@dataclass(frozen=True)
class Continuation:
    """The text generated after a prompt, before and after the edit."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True)
class KeyFacts:
    """The subject's keys at the edited layer.

    `cosine` is between the bare key and the mean key, `denominators` are |uᵀk_s| under each
    installed key strategy, and `exposure` is what running text will get of the update under the
    editor's own, as a share of what the subject gets.
    """

    layer: int
    strategy: str
    cosine: float
    denominators: Mapping[str, float]
    exposure: float


@dataclass(frozen=True)
class CheckReport:
    """The verdict on one edit, and the measurements that it is based on.

    `row` has the columns of `edits/…/shard-*.parquet` (results/README.md); `str(report)` is the
    report in words. `altered` is false if the edit changes no bit of the weights or, for a patch,
    none of the `continuations`. `notes` are what its reader should know first, and `scale` is
    what rounding the model's weights does to its predictions. `rounded` is the edit in models of 8
    and 4 bits, if that was asked for.
    """

    request: "EditRequest"
    row: Mapping[str, Any]
    continuations: tuple[Continuation, ...]
    keys: KeyFacts | None
    warning: Forecast | None
    collapse: CollapseSection
    job: "EditJob"
    measured_with: MeasuredWith
    delta: "Delta | None"
    altered: bool = True
    notes: tuple[str, ...] = ()
    scale: Scale = field(default_factory=dict)
    from_prompt: Forecast | None = None
    rounded: tuple[RoundedEdit, ...] = ()

    @property
    def collapsed(self) -> bool:
        """Whether the edited model has collapsed, by the rule of the study."""
        return bool(self.row["collapsed"])

    @property
    def outcome(self) -> Outcome:
        """The grade; "without effect" if a sound model is unchanged, or the edit did not take."""
        if self.row["grade"] != SOUND:
            return cast("Grade", self.row["grade"])
        return "sound" if self.altered and effect.took(self.row) else "without effect"

    @property
    def ratio(self) -> float:
        """Perplexity of the edited model, as a multiple of the unedited one's."""
        return float(self.row["perplexity_ratio"])

    @property
    def diagnostics(self) -> dict[str, float | None]:
        """What else the editor and its transforms report; None for a number that is not finite."""
        return from_json(self.row.get("diagnostics"))

    def as_dict(self) -> dict[str, Any]:
        """The whole report as plain data for JSON; numbers that are not finite become texts."""
        plain = {
            "notes": list(self.notes),
            "verdict": self.outcome,
            "sentence": verdict(self),
            "reason": reason(self),
            "collapse": self.collapse.model_dump(),
            "rounding": {str(bits): divergence for bits, divergence in self.scale.items()},
            "rounded": [each.as_dict() for each in self.rounded],
            "measured_with": self.measured_with.as_dict(),
            "editor_options": self.job.editor.options,
            "keys": vars(self.keys) if self.keys else None,
            "forecast": vars(self.warning) if self.warning else None,
            "forecast_from_prompt": vars(self.from_prompt) if self.from_prompt else None,
            "continuations": [vars(each) for each in self.continuations],
            **self.row,
            "diagnostics": self.diagnostics,
        }
        return {name: finite(value) for name, value in plain.items()}

    def __str__(self) -> str:
        return page(self)

    __repr__ = __str__  # its fields have thousands of numbers

    def _repr_html_(self) -> str:
        """The verdict, and the generated texts before and after the edit, for notebooks."""
        verdicts = [
            *(("Note", note) for note in self.notes),
            ("Fact", f"{self.request.text} → {self.request.target_new}"),
            ("Verdict", verdict(self)),
            ("Reason", reason(self)),
        ]
        texts = [(f"{t.prompt} …", _line(t.before), _line(t.after)) for t in self.continuations]
        about = f"{self.job.editor.label} on {self.job.model.name}"
        written = table("Generated text", texts, ("Prompt", "Before the edit", "After the edit"))
        return table(about, verdicts) + written

    def save(self, folder: Path | str) -> Path:
        """Write `delta.safetensors` and `check.json` into a folder; returns the delta's path.

        Both are always of the same run, even if one is killed. Raises `ConfigError` for an editor
        that changes no weights.
        """
        from editcore.updates.delta import save_deltas

        if self.delta is None:
            raise ConfigError(
                f"{self.job.editor.label} changes no weights, so there is nothing to save; "
                "leave this out"
            )
        delta, check = "delta.safetensors", "check.json"
        about = {"job": self.job.model_dump_json()}
        with together(Path(folder), delta, check) as partial:
            save_deltas({self.request.case_id: self.delta}, partial / delta, about)
            write_text(partial / check, json.dumps(self.as_dict(), indent=2) + "\n")
        return Path(folder) / delta


def finite(value: Any) -> Any:
    """The value with every number in it that is not finite as text, since JSON has none.

    >>> finite({"a": [float("inf"), 1.0]})
    {'a': ['inf', 1.0]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value


def verdict(report: CheckReport) -> str:
    """The verdict as a sentence, with the measurements that decide and their limits."""
    row = report.row
    if report.outcome == "without effect":
        lack = effect.lack(row, altered=report.altered)
        return f"WITHOUT EFFECT: {lack} ({_change(row)})."
    return graded(row, report.collapse)


def graded(row: Mapping[str, Any], rule: CollapseSection) -> str:
    """The grade of a measured model as a sentence, with what decides it and the limits."""
    word, ratio = row["grade"].upper(), row["perplexity_ratio"]
    collapse = f"{_change(row)} ({times(ratio)}; the limit is {rule.in_words()})"
    if row["grade"] == COLLAPSED:
        return f"{word}: {collapse}."
    changed = in_percent(1 - row["top1_kept"])
    moved = f"another next token is the likeliest at {changed} of tokens"
    joined = ", but" if row["grade"] == DAMAGED else " and"
    return f"{word}: {collapse}{joined} {moved} (the limit is {in_percent(rule.damage)})."


def _change(row: Mapping[str, Any]) -> str:
    return f"perplexity {number(row['perplexity_base'])} → {number(row['perplexity'])}"


def forecast(warning: Forecast) -> str:
    """The prediction from before the edit, as a clause."""
    score = f"on a sample of text, {in_percent(warning.score)} of likeliest tokens change"
    if warning.ratio is not None:
        score += f" and perplexity becomes {times(warning.ratio)}"
    if warning.probability is None or warning.threshold is None:
        none = f"{_calibrated(warning)}, of which none or all did harm"
        return f"before the edit: unknown ({score}; {none})"
    begins = f"harm begins at {in_percent(warning.threshold)}"
    if warning.collapse_threshold is not None:
        begins += f", collapse at {times(warning.collapse_threshold)}"
    expected = "collapse" if warning.collapse else "harm" if warning.harm else "no harm"
    return (
        f"before the edit: {expected} (probability of harm {share(warning.probability)}; {score}; "
        f"{begins}; {_calibrated(warning)})"
    )


def forecast_from_prompt(warning: Forecast) -> str:
    """The prediction from the keys alone, from before v* is searched for, as a clause."""
    assert warning.probability is not None and warning.threshold is not None
    return (
        f"from the prompt alone: {'harm' if warning.harm else 'no harm'} (probability of harm "
        f"{share(warning.probability)}; running text gets {number(warning.score)} times what the "
        f"subject gets, and harm begins at {number(warning.threshold)})"
    )


def _calibrated(warning: Forecast) -> str:
    """What the prediction was calibrated on, and whether that includes the model."""
    if warning.editor and warning.known:
        count = plural(warning.edits, "edit")
        return f"calibrated on this model with this editor, by {count}"
    edits = f"calibrated on {plural(warning.edits, 'edit')} of {listed(warning.calibrated_on)}"
    return edits if warning.known else f"{edits}; this model is new"


def reason(report: CheckReport) -> str:
    """The reason of the verdict, as far as keys and denominator explain it."""
    row, keys = report.row, report.keys
    if row["denominator"] is None and row["delta_norm"] is None:
        return f"{report.job.editor.label} changes no weights."
    if row["denominator"] is None:
        return (
            f"{report.job.editor.label} has no denominator; it changes weights of norm "
            f"{number(row['weight_norm'])} by {number(row['delta_norm'])}."
        )
    divided = f"The denominator of the update is {number(row['denominator'])}"
    if keys is None:
        return f"{divided}."
    best = max(keys.denominators, key=lambda name: keys.denominators[name])
    other = keys.denominators[best]
    divided += f" (key strategy {keys.strategy}, layer {keys.layer})"
    alike = (
        f"The bare key and the mean key of “{report.request.subject}” have cosine "
        f"{share(keys.cosine)}"
    )
    if row["denominator"] < SMALL * other:
        return (
            f"{divided}; it would be {number(other)} with the key strategy {best}. {alike}; "
            f"{_place(report)}. A small denominator makes a large change: its norm is "
            f"{number(row['delta_norm'])}, that of the weights {number(row['weight_norm'])}."
        )
    return f"{divided}, a usual size for these keys. {alike}."


def page(report: CheckReport) -> str:
    """The whole report as text."""
    request, row = report.request, report.row
    lines = [
        *report.notes,
        f"{report.job.editor.label} on {report.job.model.name}: "
        f"{request.text} → {request.target_new}",
        "",
        textwrap.fill(verdict(report), WIDTH),
        textwrap.fill(reason(report), WIDTH),
        *_prediction(report),
        *disturbance(row, report.scale),
        "",
    ]
    lines += effect.lines(row)
    if report.outcome == "sound" and effect.only_prefixed(row):
        lines.append("The model survives, but it gives the new object only after a prefix.")
    lines += [str(report.measured_with), *_reported(report)]
    if report.rounded:
        words = "Rounded, and compared with the unedited model rounded alike:"
        lines += ["", words, rounded_table(report.rounded)]
    lines += ["", "Generated text, before and after the edit:"]
    for each in report.continuations:
        lines += [
            f"  {each.prompt} …",
            f"    before: {_line(each.before)}",
            f"    after:  {_line(each.after)}",
        ]
    return "\n".join(lines)


def _prediction(report: CheckReport) -> list[str]:
    """What was predicted at either step."""
    early, late = report.from_prompt, report.warning
    found = [forecast_from_prompt(early)] if early else []
    found += [forecast(late)] if late else []
    return [textwrap.fill(f"Predicted {clause}.", WIDTH) for clause in found]


def disturbance(row: Mapping[str, Any], scale: Scale) -> list[str]:
    """How far the predictions on ordinary text moved, which perplexity may not show."""
    kept, mean, upper = (row.get(name) for name in ("top1_kept", "kl_mean", "kl_upper"))
    if kept is None or mean is None or upper is None:
        return []
    sentence = (
        f"On the perplexity texts, the likeliest next token stays the same in a share of "
        f"{share(kept)}; the predictions moved by {number(mean)} nats per token (KL divergence; "
        f"99th percentile {number(upper)})."
    )
    if as_much := in_words(mean, scale):
        sentence += f" The edit disturbs the model {as_much}."
    return [textwrap.fill(sentence, WIDTH)]


def _reported(report: CheckReport) -> list[str]:
    """The editor's own numbers."""
    found = [f"{name} {number(value)}" for name, value in report.diagnostics.items()]
    sentence = f"{report.job.editor.label} reports {listed(found)}."
    return [textwrap.fill(sentence, WIDTH)] if found else []


def _line(text: str) -> str:
    """Generated text without its line breaks."""
    return " ".join(text.split()) or "(nothing: its probabilities are not finite)"


def _place(report: CheckReport) -> str:
    if report.row["subject_position"] == 0:
        return "the subject is the prompt's first token, which is unlike every other position"
    return f"its last token is at position {report.row['subject_position']} of the prompt"
