"""Numbers, lists and durations as text for people."""

import math
from collections.abc import Sequence

UNDEFINED = "–"

INFINITE = "∞"


def shown(value: float, digits: int = 3) -> str:
    """A figure with its sign and its digits.

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


def listed(names: Sequence[str], *, nothing: str = "none") -> str:
    """Names in a sentence.

    Example:
        >>> listed(["a", "b", "c"]), listed([])
        ('a, b and c', 'none')
    """
    if len(names) < 2:
        return names[0] if names else nothing
    return f"{', '.join(names[:-1])} and {names[-1]}"


def counted(count: int, thing: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "test case"), counted(1200, "test case")
        ('1 test case', '1,200 test cases')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """How long something took.

    Example:
        >>> [duration(seconds) for seconds in (42.4, 754, 7330)]
        ['42 s', '12 min 34 s', '2 h 2 min']
    """
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60:.0f} s" if minutes else f"{seconds:.0f} s"


def percent(share: float) -> str:
    """A share for people.

    Example:
        >>> percent(0.95), percent(0.975)
        ('95 %', '97.5 %')
    """
    return f"{100 * share:.10g} %"
