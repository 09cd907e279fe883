"""Folders that are there whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from thorax.errors import InputError


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
