"""`InputError`, the error that users cause, and one-line messages for other errors."""

import errno
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

_RULE = "Input should be "

_BRANCH = re.compile(r"\[|^constrained-")

_SPACE = "free some space there"

_RIGHTS = "check its read and write permissions"

_ADVICE = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "this exceeds the largest file size; check `ulimit -f` and the file system",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOENT: "check whether it was moved or removed, and run this again",
    errno.ENOTDIR: "a file has the name of a folder there; move it, or set HOME if it is yours",
    errno.EIO: "check the disk, and run this again",
    errno.ESTALE: "check the network drive, and run this again",
    errno.EMFILE: "too many files are open; raise `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine; close some programs",
}
"""Remedy for each error of the operating system."""

# C0 and C1, which control terminals; line breaks of all kinds; marks of writing direction.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class InputError(ValueError):
    """Input of the user that cannot be used; the message is one line with reason and remedy.

    The command line prints only the message and exits with status 1. Every other exception is a
    defect of the program and keeps its traceback.

    Control characters from file names and headers are escaped: see `printable`.

    Args:
        message: The rule, the value, the remedy.
        more: Further lines, if there are several problems.
    """

    def __init__(self, message: str, *more: str) -> None:
        super().__init__("\n  ".join(map(printable, (message, *more))))


def require_packages(purpose: str, *packages: str, extra: str = "train") -> None:
    """Raise `InputError` if a package of an extra is not installed.

    Args:
        purpose: The command or option that needs the packages.
        packages: Names as in an import.
        extra: The extra of `thorax` that contains them.

    Example:
        >>> require_packages("`thorax sweep`", "json", "no_such_package")
        Traceback (most recent call last):
        thorax.common.errors.InputError: `thorax sweep` needs no_such_package, which is not \
installed; run `pip install 'thorax[train]'`
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(
            f"{purpose} needs {', '.join(missing)}, which {verb} not installed; run `pip install "
            f"'thorax[{extra}]'`"
        )


def printable(text: str) -> str:
    r"""Escape control characters, so that the text is one line and cannot control a terminal.

    File names and headers may contain any character.

    Example:
        >>> print(printable("a\x1b[2Jb.nii"))
        a\x1b[2Jb.nii
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def advice_on(error: OSError) -> str:
    """Look up the remedy for an operating-system error; empty for a defect of the program.

    Example:
        >>> advice_on(OSError(errno.ENOSPC, "No space left on device"))
        'free some space there'
    """
    return _ADVICE.get(error.errno or 0, "")


def printable_lines(text: str) -> str:
    r"""Escape control characters in a text of several lines; see `printable`.

    Example:
        >>> print(printable_lines("a\nb\x07"))
        a
        b\x07
    """
    return "\n".join(map(printable, text.split("\n")))


@contextmanager
def in_one_line() -> Iterator[None]:
    """Convert errors of the operating system to one line: no space, no permission, no file.

    Raises:
        InputError: Instead of such an `OSError`, of an executor whose worker was killed, or of a
            text that the locale cannot encode.

    Example:
        >>> with in_one_line():
        ...     raise OSError(errno.ENOSPC, "No space left on device", "records")
        Traceback (most recent call last):
        thorax.common.errors.InputError: records: No space left on device; free some space there
    """
    try:
        yield
    except OSError as error:
        if not (advice := advice_on(error)):
            raise
        path = error.filename or "a file here or in the temporary folder (TMPDIR)"
        raise InputError(f"{path}: {error.strerror}; {advice}") from error
    except UnicodeEncodeError as error:
        if error.encoding.lower() in ("utf-8", "utf8"):
            raise
        raise InputError(
            f"this locale can write {error.encoding} only, but a file name or a text has "
            f"{error.object[error.start : error.end]!a}; set PYTHONUTF8=1 and run this again"
        ) from error
    except BrokenExecutor as error:
        raise InputError(
            "a worker process was killed, usually because memory ran out; close other programs and "
            "run this again: finished work is kept"
        ) from error


def first_problem(error: "ValidationError") -> str:
    """Describe the first problem of a pydantic validation in one line."""
    problem, *others = error.errors()
    key = _key(problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown key `{key}`"
    if problem["type"] == "missing":
        return f"key `{key}` is missing"
    prefix = f"`{key}`: " if key else ""
    # A union has one problem for each of its types.
    allowed = [other["msg"].removeprefix(_RULE) for other in others if _key(other["loc"]) == key]
    rule = " or ".join([problem["msg"].removeprefix("Value error, "), *allowed])
    return f"{prefix}{rule}, got {_short(problem['input'])}"


def _key(location: tuple[int | str, ...]) -> str:
    """Key of the user without the branches of unions, such as `literal['hu']`."""
    return ".".join(str(part) for part in location if not _BRANCH.search(str(part)))


def _short(value: Any) -> str:
    text = "a mapping" if isinstance(value, Mapping) else repr(value)
    return text if len(text) < 60 else text[:57] + "..."
