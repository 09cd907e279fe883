"""Numbers and durations as text."""

import pytest

from thorax.common.text import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (59.4, "59 s"),
        (59.7, "1 min 0 s"),
        (119.6, "2 min 0 s"),
        (3599.7, "1 h 0 min"),
        (7330.0, "2 h 2 min"),
    ],
)
def test_a_duration_is_rounded_before_it_is_divided(seconds: float, text: str) -> None:
    assert duration(seconds) == text
