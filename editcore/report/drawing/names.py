"""Which figures a study has, so that a workflow can ask for them; free of heavy imports."""

from collections.abc import Iterable

KINDS = ("perplexity", "denominator")


def figure_name(kind: str, model: str, editor: str) -> str:
    """The file name of a figure; labels hold no `=`, so different ones never meet in one name."""
    return f"{kind}-model={model}-editor={editor}.svg"


def figure_names(models: Iterable[str], editors: Iterable[str]) -> list[str]:
    """The file names of all figures of a study.

    >>> figure_names(["small"], ["mean"])
    ['perplexity-model=small-editor=mean.svg', 'denominator-model=small-editor=mean.svg']
    """
    editors = list(editors)
    return [figure_name(kind, m, e) for m in models for e in editors for kind in KINDS]
