"""Sharpness of reconstruction kernels, by the names that manufacturers give them."""

import re

UNKNOWN = 45.0

_NAMED = {
    "SOFT": 25.0,
    "STANDARD": 30.0,
    "CHEST": 35.0,
    "CHST": 35.0,
    "DETAIL": 40.0,
    "LUNG": 60.0,
    "BONE": 65.0,
    "BONEPLUS": 70.0,
    "EDGE": 75.0,
    "ULTRA": 80.0,
    "A": 25.0,
    "B": 30.0,
    "C": 40.0,
    "D": 60.0,
    "E": 65.0,
    "L": 60.0,
    "YA": 55.0,
    "YB": 60.0,
    "YC": 65.0,
    "YD": 70.0,
}
"""GE (words) and Philips (letters)."""

_CANON = re.compile(r"FC(\d+)")

_FIRST_SHARP_FC = 30
"""Canon: FC30 and above are for bone and lung."""

_SIEMENS = re.compile(r"[A-Z]{1,3}(\d{2})[A-Z]?")
"""Such as B30f, Br40d, I50s: a higher number is sharper."""


def sharpness(kernel: str) -> float:
    """Rank a ConvolutionKernel: a higher number is sharper; about 30 is for soft tissue.

    Example:
        >>> [sharpness(kernel) for kernel in ("B30f", "B70f", "LUNG", "FC51", "Br40d", "")]
        [30.0, 70.0, 60.0, 60.0, 40.0, 45.0]
    """
    name = kernel.split("\\")[0].strip().upper()
    if name in _NAMED:
        return _NAMED[name]
    if match := _CANON.match(name):
        return 60.0 if int(match[1]) >= _FIRST_SHARP_FC else 30.0
    if match := _SIEMENS.fullmatch(name):
        return float(match[1])
    return UNKNOWN
