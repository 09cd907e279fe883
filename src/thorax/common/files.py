"""Files that are there whole or not at all."""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from thorax.common.errors import InputError, advice_on

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})

_BEGUN = ".part-"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` once all went well.

    The temporary name keeps the suffixes of ``path``, because image libraries choose the format
    by them. If the body raises, the temporary file is removed and ``path`` is left as it was; what
    a killed program left is written over by the next one. Of several programs that write the same
    file at once, each has a temporary name of its own, and the last one to end wins.

    Raises:
        InputError: The folder cannot be made or written to, or there is no room for the file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder) / "answer.txt") as temporary:
        ...         _ = temporary.write_text("42")
        ...     (Path(folder) / "answer.txt").read_text()
        '42'
    """
    with _reserved(path) as temporary:
        try:
            yield temporary
            _into_place(temporary, path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            # What the body reads has its own words for what is wrong with it.
            if isinstance(error, OSError) and _is_of_writing(error, temporary):
                raise _refused(path, error) from error
            raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def empty_folder(path: Path) -> None:
    """Make a folder, or empty the one that is there.

    Raises:
        InputError: It cannot be made or emptied.
    """
    with _refusing(path):
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)


def _into_place(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)


@contextmanager
def _reserved(path: Path) -> Iterator[Path]:
    """An empty file beside ``path`` that is this program's alone for as long as the body runs."""
    if path.is_dir():
        raise InputError(f"cannot write {path}: a folder has that name")
    with _refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _taken(path) or _another(path)
    try:
        yield temporary
    finally:
        os.close(handle)


def _taken(path: Path) -> tuple[int, Path] | None:
    """Lock and empty the usual temporary file; None where another program or user has it.

    One name a file, so that a killed program's leavings are found again without a search.
    """
    usual = path.with_name(f"{_BEGUN}{path.name}")
    try:
        handle = os.open(usual, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another program may have renamed or removed it after it was opened here.
        if os.path.samestat(os.fstat(handle), usual.stat()):
            os.ftruncate(handle, 0)
            return handle, usual
    except OSError:  # it is locked or gone, or this drive knows no locks
        pass
    os.close(handle)
    return None


def _another(path: Path) -> tuple[int, Path]:
    handle, name = tempfile.mkstemp(prefix=_BEGUN, suffix=f"-{path.name}", dir=path.parent)
    umask = os.umask(0)
    os.umask(umask)
    Path(name).chmod(0o666 & ~umask)
    return handle, Path(name)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Say in one line what cannot be written."""
    try:
        yield
    except OSError as error:
        raise _refused(path, error) from error


def _is_of_writing(error: OSError, temporary: Path) -> bool:
    return error.errno in _FULL or str(error.filename) == str(temporary)


def _refused(path: Path, error: OSError) -> InputError:
    advice = advice_on(error) if error.errno in _FULL else ""
    return InputError(
        f"cannot write {path}: {error.strerror or error}; "
        f"{advice or 'choose a folder that can be written'}"
    )


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``folder``; rename it to ``folder`` once all went well.

    Raises:
        InputError: Files cannot be read or written; then nothing is kept.

    Example:
        >>> with TemporaryDirectory() as place:
        ...     with whole_folder(Path(place) / "study") as staged:
        ...         _ = (staged / "scan.nii").write_bytes(b"...")
        ...     [path.name for path in (Path(place) / "study").iterdir()]
        ['scan.nii']
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # One level deeper, because the temporary folder itself is closed to other users.
        with TemporaryDirectory(prefix=".part-", dir=folder.parent) as temporary:
            staged = Path(temporary) / folder.name
            staged.mkdir()
            yield staged
            staged.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} could not be filled, nothing was kept: {error}") from error


def file_sha256(path: Path) -> str:
    """Digest of a file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
