"""The one error that a user can cause, and so must be able to read."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


_RULE = "Input should be "
_BRANCH = re.compile(r"\[|^constrained-")


class InputError(ValueError):
    """What the user gave cannot be used; the message says why and what to do, in one line.

    The command line prints the message alone and exits with status 1. Everything else that is
    raised is a defect of the program and keeps its traceback.
    """


def first_problem(error: "ValidationError") -> str:
    """The first thing that pydantic found wrong, as one line."""
    problem, *others = error.errors()
    key = _key(problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown key `{key}`"
    if problem["type"] == "missing":
        return f"key `{key}` is missing"
    where = f"`{key}`: " if key else ""
    # Where one of two kinds of value is allowed, there is one problem for each of them.
    allowed = [other["msg"].removeprefix(_RULE) for other in others if _key(other["loc"]) == key]
    rule = " or ".join([problem["msg"].removeprefix("Value error, "), *allowed])
    return f"{where}{rule}, got {_short(problem['input'])}"


def _key(location: tuple[int | str, ...]) -> str:
    """The key of the user's; pydantic names the branches of a union too, as `literal['hu']`."""
    return ".".join(str(part) for part in location if not _BRANCH.search(str(part)))


def _short(value: Any) -> str:
    text = "a mapping" if isinstance(value, Mapping) else repr(value)
    return text if len(text) < 60 else text[:57] + "..."
