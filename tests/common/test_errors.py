"""One-line error messages."""

import errno
import os
from concurrent.futures.process import BrokenProcessPool
from dataclasses import field

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from thorax.common.errors import InputError, first_problem, in_one_line


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
    ids=["unknown", "missing", "index", "value", "mapping", "long value", "union", "nothing"],
)
def test_the_first_problem_names_the_key_and_the_value(content: object, line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Room).validate_python(content)
    problem = first_problem(caught.value)
    assert line in problem
    assert "\n" not in problem
    assert "``" not in problem


def test_an_input_error_is_a_value_error() -> None:
    """Callers of the library can catch it without our class."""
    with pytest.raises(ValueError, match="reason"):
        raise InputError("reason")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space there"),
        (errno.EACCES, "check its read and write permissions"),
        (errno.ENOENT, "check whether it was moved or removed, and run this again"),
    ],
)
def test_an_error_of_the_operating_system_is_one_line(number: int, advice: str) -> None:
    with pytest.raises(InputError) as caught, in_one_line():
        raise OSError(number, os.strerror(number), "data/records/a.tfrecord")
    assert str(caught.value) == f"data/records/a.tfrecord: {os.strerror(number)}; {advice}"


def test_an_error_without_a_path_mentions_the_temporary_folder() -> None:
    line = r"^a file here or in the temporary folder \(TMPDIR\): No space left on device; free"
    with pytest.raises(InputError, match=line), in_one_line():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_killed_worker_is_one_line() -> None:
    line = "^a worker process was killed, .* finished work is kept$"
    with pytest.raises(InputError, match=line), in_one_line():
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "Bad file descriptor"), OSError("odd")])
def test_a_defect_of_the_program_is_not_converted(error: OSError) -> None:
    with pytest.raises(OSError, match=str(error.args[-1])), in_one_line():
        raise error
