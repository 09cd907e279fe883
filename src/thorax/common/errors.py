"""The one error that a user can cause, and so must be able to read."""

import errno
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

_RULE = "Input should be "

_BRANCH = re.compile(r"\[|^constrained-")

_ROOM = "make room there"

_RIGHTS = "see who may read and write it"

_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "files may not grow so large here; see `ulimit -f` and the file system",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOENT: "see whether it was moved or removed meanwhile, and run this again",
    errno.ENOTDIR: "a file has the name of a folder there; move it, or set HOME if that is yours",
    errno.EIO: "see whether the disk is sound, and run this again",
    errno.ESTALE: "see whether the network drive is still there, and run this again",
    errno.EMFILE: "too many files are open; raise `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine; close some programs",
}
"""What to do about what the machine refuses."""

# C0 and C1, of which terminals take commands; line breaks of all kinds; marks that turn writing.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class InputError(ValueError):
    """What the user gave cannot be used; the message says why and what to do, in one line.

    The command line prints the message alone and exits with status 1. Everything else that is
    raised is a defect of the program and keeps its traceback.

    What file names and headers brought along cannot steer the terminal: see `printable`.

    Args:
        message: The rule, the value, what to do.
        more: Further lines, where several things are wrong at once.
    """

    def __init__(self, message: str, *more: str) -> None:
        super().__init__("\n  ".join(map(printable, (message, *more))))


def printable(text: str) -> str:
    r"""Text that stays one line and steers no terminal, control characters as their escapes.

    Names of files and what headers say may hold anything; see them as they are, harm none.

    Example:
        >>> print(printable("a\x1b[2Jb.nii"))
        a\x1b[2Jb.nii
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def advice_on(error: OSError) -> str:
    """What to do about an error of the machine; empty for one that is a defect of the program.

    Example:
        >>> advice_on(OSError(errno.ENOSPC, "No space left on device"))
        'make room there'
    """
    return _ADVICE.get(error.errno or 0, "")


def printable_lines(text: str) -> str:
    r"""Text that steers no terminal and keeps its lines; see `printable`.

    Example:
        >>> print(printable_lines("one\ntwo\x07"))
        one
        two\x07
    """
    return "\n".join(map(printable, text.split("\n")))


@contextmanager
def in_one_line() -> Iterator[None]:
    """Say in one line what the machine refuses: no room, no right, a file that is gone.

    Raises:
        InputError: Instead of such an `OSError`, of an executor whose worker was killed, or of a
            text that the locale has no letters for.

    Example:
        >>> with in_one_line():
        ...     raise OSError(errno.ENOSPC, "No space left on device", "data/records")
        Traceback (most recent call last):
        thorax.common.errors.InputError: data/records: No space left on device; make room there
    """
    try:
        yield
    except OSError as error:
        if not (advice := advice_on(error)):
            raise
        where = error.filename or "a file here or in the temporary folder (TMPDIR)"
        raise InputError(f"{where}: {error.strerror}; {advice}") from error
    except UnicodeEncodeError as error:
        if error.encoding.lower() in ("utf-8", "utf8"):
            raise
        raise InputError(
            f"this locale has no letters beyond {error.encoding}, but a file name or a text has "
            f"{error.object[error.start : error.end]!a}; set PYTHONUTF8=1 and run this again"
        ) from error
    except BrokenExecutor as error:
        raise InputError(
            "a worker process was killed, most often because memory ran out; close other programs "
            "and run this again: what is done is kept"
        ) from error


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
