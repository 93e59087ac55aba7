"""What is predicted of an edit before it is made: does it harm the model, or collapse it?"""

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from editcore.collapse.calibration import Calibration
from editcore.datasets.bundled import bundled_name
from editcore.errors import DataError

SHIPPED = "warning.json"
FITTED = ("harmed", "collapsed", "prompt")


@dataclass(frozen=True)
class Forecast:
    """A prediction for one edit.

    `score` is what harm is predicted by: the share of a sample's tokens whose likeliest next token
    changes, or before v* is searched for the share that running text gets of what the subject gets
    (`editcore.collapse.exposure`). `ratio` is what a collapse is predicted
    by: perplexity on the sample, as a multiple of the unedited model's; None if not known.
    `probability` and `collapse_probability` are of harm (a damaged or collapsed model) and of a
    collapse; `harm` and `collapse` are whether the score reaches the thresholds. All of these are
    None if no edit that was calibrated on did that. `known` is whether the model is one of
    `calibrated_on`, and `editor` the only editor that was calibrated with; empty for several.
    """

    score: float
    ratio: float | None
    probability: float | None
    threshold: float | None
    harm: bool | None
    collapse_probability: float | None
    collapse_threshold: float | None
    collapse: bool | None
    calibrated_on: tuple[str, ...]
    edits: int
    known: bool
    editor: str = ""


@dataclass(frozen=True)
class Forecaster:
    """Calibrations of the warning for harm and for collapse; None if no edit did that.

    `models` are those whose edits they were fitted on: names, and sources that they were loaded
    from. `edits` is the number of these edits, and `made_from` names them. `left_out` contains, for
    each model, the recall, precision and false alarms on it of a threshold for harm that was fitted
    on the others. `editor` is the only editor that made the edits; empty for several. `prompt`
    predicts harm from the prompt alone, by the share that running text gets.
    """

    harmed: Calibration | None
    collapsed: Calibration | None
    edits: int
    models: Mapping[str, str] = field(default_factory=dict)
    made_from: str = ""
    left_out: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    editor: str = ""
    prompt: Calibration | None = None

    def forecast(self, changed: float, ratio: float | None, source: str) -> Forecast:
        """The prediction for an edit with this effect on the sample, of the model at `source`."""
        return Forecast(
            changed,
            ratio,
            *_outcome(self.harmed, changed),
            *_outcome(self.collapsed, ratio),
            tuple(self.models),
            self.edits,
            self.knows(source),
            self.editor,
        )

    def from_prompt(self, exposure: float, source: str) -> Forecast | None:
        """The prediction of harm from an update's `exposure`, before v* is searched for.

        None if no rank-one update was calibrated on.
        """
        if self.prompt is None:
            return None
        return Forecast(
            exposure,
            None,
            *_outcome(self.prompt, exposure),
            *_outcome(None, None),
            tuple(self.models),
            self.prompt.edits,
            self.knows(source),
            self.editor,
        )

    def knows(self, source: str) -> bool:
        """Whether edits of this model were calibrated on."""
        own = bundled_name(source) or source
        return own in {bundled_name(each) or each for each in self.models.values()}

    def as_json(self) -> str:
        """The calibrations as JSON, as `load` reads it."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def load(path: Path | None = None) -> Forecaster:
    """The calibrations in a file; by default, those that editcore provides.

    Raises `DataError` for a file without them.
    """
    shipped = importlib.resources.files("editcore.collapse") / SHIPPED
    try:
        found = json.loads((shipped if path is None else path).read_text(encoding="utf-8"))
        fitted = {name: _calibration(found[name]) for name in FITTED}
        return Forecaster(**{**found, **fitted})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path or shipped} contains no calibration ({error}); give a file that "
            "`editcore backtest --calibration` wrote"
        ) from None


def _calibration(found: Mapping[str, Any] | None) -> Calibration | None:
    return None if found is None else Calibration(**found)


def _outcome(
    fitted: Calibration | None, score: float | None
) -> tuple[float | None, float | None, bool | None]:
    """Probability, threshold, and whether the score reaches it."""
    if fitted is None or score is None:
        return None, None, None
    return fitted.probability(score), fitted.threshold, score >= fitted.threshold
