"""Formats numbers for people."""

import math
from collections.abc import Sequence

MISSING = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None) -> str:
    """Three significant digits, whole numbers in full, thousands separated; `–` for None.

    >>> [number(x) for x in (12345.6, 2.4, 0.00312, 4.2e9, float("inf"), 10.0, None)]
    ['12,346', '2.40', '0.00312', '4.20·10⁹', '∞', '10', '–']
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size and (size >= 1e7 or size < 1e-3):
        power = math.floor(math.log10(size))
        return f"{value / 10**power:.2f}·{ten_to(power)}"
    return f"{value:,.0f}" if size >= 100 or size == int(size) else f"{value:#.3g}"


def ten_to(power: int) -> str:
    """A power of ten in superscripts.

    >>> ten_to(-3)
    '10⁻³'
    """
    return "10" + str(power).translate(_SUPERSCRIPT)


def share(value: float | None) -> str:
    """A share between 0 and 1, with two decimals.

    >>> share(0.525), share(None)
    ('0.53', '–')
    """
    return MISSING if value is None or math.isnan(value) else f"{value + 1e-9:.2f}"


def signed(difference: float | None) -> str:
    """A difference with its sign and three decimals, 0 only if there is none.

    >>> signed(0.0254), signed(-0.5), signed(0.0), signed(-1e-5), signed(None)
    ('+0.025', '−0.500', '0', '−0.000', '–')
    """
    if difference is None or math.isnan(difference):
        return MISSING
    return f"{difference:+.3f}".replace("-", "−") if difference else "0"


def in_percent(value: float) -> str:
    """A share between 0 and 1 as a percentage.

    >>> in_percent(0.08), in_percent(0.9137)
    ('8 %', '91.4 %')
    """
    return f"{100 * value:.3g} %"


def count(value: int | None) -> str:
    """A count, thousands separated.

    >>> count(1200), count(None)
    ('1,200', '–')
    """
    return MISSING if value is None else f"{value:,}"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "case"), plural(1200, "case")
    ('1 case', '1,200 cases')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def numbered(noun: str, numbers: Sequence[int]) -> str:
    """A noun with the numbers of one or several of its kind.

    >>> numbered("layer", [5]), numbered("layer", [3, 4])
    ('layer 5', 'layers 3, 4')
    """
    return f"{noun}{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def listed(items: Sequence[str], most: int | None = None, others: str = "more") -> str:
    """Items as a list in a sentence; of more than `most`, the others are counted.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    >>> listed(["a", "b", "c", "d"], 2), listed(["a", "b", "c"], 2, "of another kind")
    ('a, b and 2 more', 'a, b and 1 of another kind')
    """
    if most is not None and len(items) > most:
        items = [*items[:most], f"{len(items) - most:,} {others}"]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def duration(seconds: float | None) -> str:
    """A time in a suitable unit.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds is None:
        return MISSING
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 3600:.3g} h"


def storage(size: float | None) -> str:
    """A number of bytes in a suitable unit.

    >>> storage(0), storage(2304), storage(1.25e9), storage(None)
    ('0 B', '2.3 kB', '1.25 GB', '–')
    """
    if size is None:
        return MISSING
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{size / limit:.3g} {unit}"
    return f"{size:.0f} B"


def real(value: object) -> float | None:
    """A column's mean or extreme as a float; None if it is not a number.

    >>> real(3), real(None), real("text")
    (3.0, None, None)
    """
    return float(value) if isinstance(value, int | float) else None


def times(ratio: float | None) -> str:
    """A factor, with a multiplication sign.

    >>> times(2990.4), times(None)
    ('×2,990', '–')
    """
    return MISSING if ratio is None else f"×{number(ratio)}"
