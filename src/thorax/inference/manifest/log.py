"""Logs of batches: one row per line, appended and flushed at once.

Each batch, and each part of a batch, writes only its own log, so that parts on different machines
need no lock.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from thorax.common.errors import InputError
from thorax.common.files import lock_file
from thorax.inference.manifest.row import ManifestRow, parse_rows, row_content

_TEST_S = 0.2


class ManifestLog:
    """The log of a batch or of a part.

    Args:
        path: The file; its folder is that of the manifest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = path.parent

    def append(self, row: ManifestRow) -> None:
        """Append a row without NaN.

        Raises:
            InputError: The file cannot be written.
        """
        # The line break comes first, because the previous line may be incomplete.
        line = "\n" + json.dumps(row_content(row, self._folder), allow_nan=False)
        try:
            with self.open() as stream:
                stream.write(line)
        except OSError as error:
            raise self._write_error(error) from None

    def rows(self) -> Iterator[ManifestRow]:
        """Yield the rows, also of a batch that was killed, without incomplete lines."""
        text = ""
        if self.path.is_file():
            text = self.path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            try:
                yield from parse_rows([json.loads(line)], self._folder)
            except (ValueError, RecursionError):  # pydantic's error is a ValueError
                continue

    def lock(self) -> TextIO:
        """Create and lock the log until it is closed.

        On drives and systems without locks, it is closed at once: Windows, which has none, cannot
        remove an open file.

        Raises:
            BlockingIOError: Another process has locked it.
            InputError: It cannot be written.
        """
        try:
            return self._lock()
        except BlockingIOError:
            # `is_locked` in another process takes the lock for a moment.
            time.sleep(_TEST_S)
            return self._lock()

    def _lock(self) -> TextIO:
        while True:
            stream = self.open()
            try:
                lock_file(stream.fileno())
                # The previous batch may have removed it after it was opened here.
                if os.path.samestat(os.fstat(stream.fileno()), self.path.stat()):
                    return stream
            except BlockingIOError:
                stream.close()
                raise
            except FileNotFoundError:
                pass
            except OSError:  # a drive or system without locks
                stream.close()
                return stream
            stream.close()

    def is_locked(self) -> bool:
        """Return True if another process has locked the log; any number of processes may ask."""
        try:
            with self.path.open("rb") as stream:
                lock_file(stream.fileno(), shared=True)
        except BlockingIOError:
            return True
        except OSError:  # no such file, or a drive without locks
            pass
        return False

    def open(self) -> TextIO:
        """Open the log to append lines.

        Raises:
            InputError: It cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._write_error(error) from None

    def _write_error(self, error: OSError) -> InputError:
        reason = error.strerror or error
        return InputError(
            f"cannot write {self.path}: {reason}; choose a folder that can be written"
        )
