"""The one error that a user can cause, and so must be able to read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


class InputError(ValueError):
    """What the user gave cannot be used; the message says why and what to do, in one line.

    The command line prints the message alone and exits with status 1. Everything else that is
    raised is a defect of the program and keeps its traceback.
    """


def first_problem(error: "ValidationError") -> str:
    """The first thing that pydantic found wrong, as one line."""
    problem = error.errors()[0]
    # Pydantic names the branches of a union too, as in `literal['hu']`: no key of the user's.
    key = ".".join(str(part) for part in problem["loc"] if "[" not in str(part))
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown key `{key}`"
    if problem["type"] == "missing":
        return f"key `{key}` is missing"
    where = f"`{key}`: " if key else ""
    return f"{where}{problem['msg'].removeprefix('Value error, ')}, got {_short(problem['input'])}"


def _short(value: Any) -> str:
    text = "a mapping" if isinstance(value, Mapping) else repr(value)
    return text if len(text) < 60 else text[:57] + "..."
