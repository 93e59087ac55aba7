"""The templates over which keys are averaged, and the weight of each."""

from collections import Counter
from dataclasses import dataclass

from editcore.toolkit import ContextPrefixes


@dataclass(frozen=True)
class Contexts:
    """Templates, the bare prompt first, and their weights, which add up to one."""

    templates: tuple[str, ...]
    weights: tuple[float, ...]


def choose(prefixes: ContextPrefixes, sampled: int) -> Contexts:
    """The bare prompt and the last `sampled` templates, weighted as in MEMIT's release.

    A key is the mean over groups of the mean within each: the bare prompt is one group, and the
    templates of each length are another.

    >>> choose(ContextPrefixes(("{}", "I. {}", "You. {}"), "m", 0), 5).weights
    (0.5, 0.25, 0.25)
    """
    group = [i for i, size in enumerate(prefixes.groups) for _ in range(size)]
    chosen = [-1, *group[-sampled:]]
    sizes = Counter(chosen)
    return Contexts(
        (prefixes.templates[0], *prefixes.templates[1:][-sampled:]),
        tuple(1 / (len(sizes) * sizes[group]) for group in chosen),
    )
