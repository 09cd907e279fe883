"""The one line that a user reads."""

from dataclasses import field

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from thorax.errors import InputError, first_problem


@dataclass(config=ConfigDict(extra="forbid"))
class Couch:
    height_mm: float
    straps: list[int] = field(default_factory=list)
    kind: str | list[str] = "flat"


@dataclass(config=ConfigDict(extra="forbid"))
class Room:
    couch: Couch


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"couch": {"height_mm": 1, "colour": "red"}}, "unknown key `couch.colour`"),
        ({"couch": {}}, "key `couch.height_mm` is missing"),
        ({"couch": {"height_mm": 1, "straps": [1, "x"]}}, "`couch.straps.1`: "),
        ({"couch": {"height_mm": 1, "straps": [1, "x"]}}, ", got 'x'"),
        ({"couch": {"height_mm": 1, "straps": {"a": 1}}}, "list, got a mapping"),
        ({"couch": {"height_mm": 1, "straps": "x" * 500}}, f"got '{'x' * 56}..."),
        ({"couch": {"height_mm": 1, "kind": 5}}, "`couch.kind"),
        (None, "got None"),
    ],
    ids=["unknown", "missing", "place", "value", "mapping", "long value", "union", "nothing"],
)
def test_the_first_problem_names_the_key_and_the_value(content: object, line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Room).validate_python(content)
    problem = first_problem(caught.value)
    assert line in problem
    assert "\n" not in problem
    assert "``" not in problem


def test_an_input_error_is_a_value_error() -> None:
    """So that callers of the library need not know our class."""
    with pytest.raises(ValueError, match="why"):
        raise InputError("why")
