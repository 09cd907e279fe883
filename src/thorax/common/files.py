"""Atomic writing of files and folders, and digests of files."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from thorax.common.errors import InputError, advice_on

try:
    import fcntl
except ImportError:  # Windows
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})

_PREFIX = ".part-"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file atomically: give a temporary path, and rename it to ``path`` on success.

    The temporary file is in the folder of ``path`` and keeps its suffixes, because image libraries
    choose the format by them. If the body raises, the temporary file is removed and ``path`` is not
    changed. The next program overwrites the temporary file of a killed one. Programs that write the
    same file at the same time use different temporary names; the last one to finish wins.

    Raises:
        InputError: The folder cannot be made or written, or there is no space for the file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder) / "answer.txt") as temporary:
        ...         _ = temporary.write_text("42")
        ...     (Path(folder) / "answer.txt").read_text()
        '42'
    """
    with _temporary_path(path) as temporary:
        try:
            yield temporary
            _rename(temporary, path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            # Errors of reading in the body have messages of their own.
            if isinstance(error, OSError) and _is_write_error(error, temporary):
                raise _write_error(path, error) from error
            raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def lock_file(handle: int, *, wait: bool = False, shared: bool = False) -> None:
    """Lock an open file until it is closed or its process ends, also by a kill.

    Args:
        handle: File descriptor; it must be open for writing, unless the lock is shared (NFS).
        wait: Wait until another process releases the file.
        shared: Other processes may share the lock, too.

    Raises:
        BlockingIOError: Another process has locked the file.
        OSError: The drive or the system has no such locks.
    """
    if not _HAS_LOCKS:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)


def empty_folder(path: Path) -> None:
    """Make an empty folder; remove the content of an existing one.

    Raises:
        InputError: It cannot be made or emptied.
    """
    with _one_line_errors(path):
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)


def _rename(temporary: Path, path: Path) -> None:
    # Windows flushes only files that are open for writing.
    with temporary.open("r+b") as stream:
        os.fsync(stream.fileno())
    temporary.replace(path)


@contextmanager
def _temporary_path(path: Path) -> Iterator[Path]:
    """Reserve an empty file in the folder of ``path`` for this program while the body runs."""
    if path.is_dir():
        raise InputError(f"cannot write {path}: a folder has that name; rename it")
    with _one_line_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        locked = _lock_usual(path)
        handle, temporary = locked or (None, _make_unique(path))
    try:
        yield temporary
    finally:
        if handle is not None:
            os.close(handle)


def _lock_usual(path: Path) -> tuple[int, Path] | None:
    """Lock and empty the usual temporary file; None if another program or user has it.

    The name is fixed, so that the next program reuses the file of a killed one. Windows cannot
    rename an open file, and has no `fcntl`: every program uses a unique name there.
    """
    if not _HAS_LOCKS:
        return None
    usual = path.with_name(f"{_PREFIX}{path.name}")
    try:
        handle = os.open(usual, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError:
        return None
    try:
        lock_file(handle)
        # Another program may have renamed or removed the file after it was opened here.
        if os.path.samestat(os.fstat(handle), usual.stat()):
            os.ftruncate(handle, 0)
            return handle, usual
    except OSError as error:  # the file is locked or deleted, or this drive has no locks
        if error.errno in _NO_LOCKS:
            usual.unlink(missing_ok=True)
    os.close(handle)
    return None


def _make_unique(path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=f"-{path.name}", dir=path.parent)
    os.close(handle)
    umask = os.umask(0)
    os.umask(umask)
    Path(name).chmod(0o666 & ~umask)
    return Path(name)


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    """Convert errors of writing to one line."""
    try:
        yield
    except OSError as error:
        raise _write_error(path, error) from error


def _is_write_error(error: OSError, temporary: Path) -> bool:
    return error.errno in _FULL or str(error.filename) == str(temporary)


def _write_error(path: Path, error: OSError) -> InputError:
    advice = advice_on(error) if error.errno in _FULL else "choose a folder that can be written"
    return InputError(f"cannot write {path}: {error.strerror or error}; {advice}")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder atomically: give a temporary folder, and rename it to ``folder`` on success.

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
        # One level deeper, because other users cannot read the temporary folder itself.
        with TemporaryDirectory(prefix=_PREFIX, dir=folder.parent) as temporary:
            staged = Path(temporary) / folder.name
            staged.mkdir()
            yield staged
            staged.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} could not be filled and was removed: {error}") from error


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 digest of a file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
