"""The one error that a user can cause, and so must be able to read."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


_RULE = "Input should be "
_BRANCH = re.compile(r"\[|^constrained-")
# C0 and C1, of which terminals take commands; line breaks of all kinds; marks that turn writing.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class InputError(ValueError):
    """What the user gave cannot be used; the message says why and what to do, in one line.

    The command line prints the message alone and exits with status 1. Everything else that is
    raised is a defect of the program and keeps its traceback.

    What file names and headers brought along cannot steer the terminal: see `printable`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    r"""Text that stays one line and steers no terminal, control characters as their escapes.

    Names of files and what headers say may hold anything; see them as they are, harm none.

    Example:
        >>> print(printable("a\x1b[2Jb.nii"))
        a\x1b[2Jb.nii
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


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
