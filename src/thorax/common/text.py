"""Numbers, lists and durations as text for people."""

import math
from collections.abc import Iterable

UNDEFINED = "–"

INFINITE = "∞"


def shown(value: float, digits: int = 3) -> str:
    """Format a number with a fixed count of decimals and a typographic minus sign.

    Example:
        >>> [shown(value, 1) for value in (0.25, -12345.6, -0.01, math.inf, math.nan)]
        ['0.2', '−12,345.6', '0.0', '∞', '–']
    """
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return INFINITE if value > 0 else f"−{INFINITE}"
    text = f"{value:,.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "−")


def rounded(value: float | None, digits: int = 6) -> float | None:
    """Round a number for a JSON file; None if it is undefined or infinite, as JSON has neither.

    Example:
        >>> [rounded(value, 2) for value in (2 / 3, math.nan, math.inf, None)]
        [0.67, None, None, None]
    """
    return None if value is None or not math.isfinite(value) else round(value, digits)


def listed(names: Iterable[object], *, nothing: str = "none", at_most: int | None = None) -> str:
    """Join names for a sentence.

    Args:
        names: In the order of the sentence.
        nothing: The text for no names.
        at_most: The most names to write out; the others are counted.

    Example:
        >>> listed(["a", "b", "c"]), listed([1, 2]), listed([])
        ('a, b and c', '1 and 2', 'none')
        >>> listed(["a", "b", "c", "d"], at_most=2)
        'a, b and 2 more'
    """
    words = [str(name) for name in names]
    if at_most is not None and len(words) > at_most:
        words[at_most:] = [f"{len(words) - at_most:,} more"]
    if len(words) < 2:
        return words[0] if words else nothing
    return f"{', '.join(words[:-1])} and {words[-1]}"


def counted(count: int, noun: str) -> str:
    """Join a number and its noun, in the plural unless the number is 1.

    Example:
        >>> counted(1, "test case"), counted(1200, "test case")
        ('1 test case', '1,200 test cases')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Format a duration in its two largest units.

    Example:
        >>> [duration(seconds) for seconds in (42.4, 754, 7330)]
        ['42 s', '12 min 34 s', '2 h 2 min']
    """
    whole = round(seconds)
    minutes, hours = whole // 60, whole // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def percent(share: float) -> str:
    """Format a share of 1 as a percentage.

    Example:
        >>> percent(0.95), percent(0.975)
        ('95 %', '97.5 %')
    """
    return f"{100 * share:.10g} %"
