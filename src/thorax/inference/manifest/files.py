"""The manifest in a folder of masks: status, volumes and warnings per scan.

Each row is appended to a log and flushed immediately, so that a killed batch can resume. At the end
the tables are written, scans that need review first.
"""

import codecs
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from thorax.common.errors import InputError, first_problem
from thorax.common.files import write_text
from thorax.common.tables import read_csv
from thorax.inference.manifest.log import ManifestLog
from thorax.inference.manifest.parts import Part
from thorax.inference.manifest.row import (
    ManifestRow,
    parse_rows,
    review_order,
    row_content,
    without_nan,
)
from thorax.inference.manifest.table import (
    FIRST_COLUMNS,
    TIMING_COLUMNS,
    for_spreadsheets,
    manifest_csv,
    timings_csv,
)


class Manifest:
    """The manifest in a folder of masks.

    A hidden log during the batch; at the end CSV and JSON, and a table of durations. A part writes
    only its log; `thorax.inference.manifest.merge` writes the tables of all parts.

    Args:
        folder: The folder.
        part: The part of the batch; None for a whole batch.

    Raises:
        InputError: An existing file of that name is damaged, or is not a manifest.
    """

    def __init__(self, folder: Path, part: Part | None = None) -> None:
        self.files = ManifestFiles(folder)
        self._part = part
        self._log = ManifestLog(self.files.log_of(part))
        self.rows = self.files.read()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the folder, or the part, against other batches while the body runs.

        Parts of the same count run together. Drives without locks, and Windows, do not support
        this.

        Raises:
            InputError: Another batch is running in the folder, or it cannot be written.
        """
        try:
            stream = self._log.lock()
        except BlockingIOError:
            raise self._is_running(f"part {self._part}" if self._part else "") from None
        with closing(stream):
            for other, name in self.files.rivals(self._part):
                if other.is_locked():
                    raise self._is_running(name)
            # Another batch may have ended since the rows were read.
            self.rows = self.files.read()
            yield

    def add(self, row: ManifestRow) -> None:
        """Add a row, or replace that of the same case, and append it to the log.

        NaN and infinite values are omitted: JSON has neither.

        Raises:
            InputError: The folder cannot be written.
        """
        finite = without_nan(row)
        self.rows[row.case] = finite
        self._log.append(finite)

    def write(self) -> None:
        """Write the tables of a whole batch; a part has none.

        Failed scans come first, then those with quality warnings, then by name.

        Raises:
            InputError: The folder cannot be written.
        """
        if self._part is None:
            self.files.write(self.rows.values())
            self._log.path.unlink(missing_ok=True)
            self.files.remove_logs()

    def _is_running(self, name: str) -> InputError:
        program = f"`thorax predict`{f' ({name})' if name else ''}"
        return InputError(
            f"another {program} is writing to {self.files.folder}; wait for it, or choose another "
            "output folder"
        )


class ManifestFiles:
    """Names, reading and writing of the files of a manifest.

    Args:
        folder: Their folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table, self._json = folder / "manifest.csv", folder / "manifest.json"
        self._timings = folder / "timings.csv"
        self._sizes: dict[Path, int] = {}

    @property
    def tables(self) -> tuple[Path, ...]:
        """The files that remain after a batch."""
        return self.table, self._json, self._timings

    def log_of(self, part: Part | None) -> Path:
        """Return the log of a part, or of a whole batch."""
        name = f".manifest-{part.number}-of-{part.count}.jsonl" if part else ".manifest.jsonl"
        return self.folder / name

    def part_logs(self) -> list[ManifestLog]:
        """Return the logs of all parts."""
        return [ManifestLog(path) for path in sorted(self.folder.glob(".manifest-*-of-*.jsonl"))]

    def rivals(self, part: Part | None) -> list[tuple[ManifestLog, str]]:
        """Return the logs, and names, of batches that cannot run at the same time.

        A whole batch excludes parts, and parts exclude those of another count.
        """
        end = f"-of-{part.count}.jsonl" if part else "\0"
        others = [log for log in self.part_logs() if not log.path.name.endswith(end)]
        named = [(log, log.path.stem.removeprefix(".manifest-")) for log in others]
        whole = [(ManifestLog(self.log_of(None)), "")] if part else []
        return [*whole, *((log, f"part {name.replace('-of-', '/')}") for log, name in named)]

    def read(self) -> dict[str, ManifestRow]:
        """Read the rows of all batches.

        Those of logs take precedence over the JSON, and those of the log that was changed last over
        other logs. A log of a whole batch that is older than the JSON is one that was killed, and
        whose scans other batches may have segmented since.

        Raises:
            InputError: A file is damaged, is not a manifest, or cannot be read.
        """
        try:
            if not self._json.exists():
                self._check(self.table, FIRST_COLUMNS)
            self._check(self._timings, TIMING_COLUMNS)
            logs = [ManifestLog(self.log_of(None)), *self.part_logs()]
            existing = [log for log in logs if log.path.exists()]
            existing.sort(key=lambda log: log.path.stat().st_mtime_ns)
            self._sizes = {log.path: log.path.stat().st_size for log in existing}
            outdated = [log.rows() for log in existing if self._is_outdated(log)]
            current = [log.rows() for log in existing if not self._is_outdated(log)]
            sources = [*outdated, self._read_json(), *current]
            return {row.case: row for rows in sources for row in rows}
        except OSError as error:
            raise InputError(
                f"{error.filename} cannot be read: {error.strerror}; choose another folder"
            ) from None

    def write(self, rows: Iterable[ManifestRow]) -> None:
        """Write CSV, JSON and durations.

        Raises:
            InputError: The folder cannot be written.
        """
        ordered = review_order(rows)
        content = [row_content(row, self.folder) for row in ordered]
        for row in content:
            del row["seconds"]
        # The durations are read together with the JSON, so they come first.
        write_text(self._timings, for_spreadsheets(timings_csv(ordered)))
        write_text(self._json, json.dumps(content, indent=1, allow_nan=False) + "\n")
        write_text(self.table, for_spreadsheets(manifest_csv(ordered, self.folder)))

    def remove_logs(self) -> None:
        """Remove the logs, which the tables replace.

        Logs that were changed after they were read, and those of running batches, are kept.
        """
        for log in (ManifestLog(self.log_of(None)), *self.part_logs()):
            size = log.path.stat().st_size if log.path.exists() else None
            if size is not None and not log.is_locked() and self._sizes.get(log.path) == size:
                log.path.unlink()

    def _is_outdated(self, log: ManifestLog) -> bool:
        """Return True for the log of a whole batch that was changed last before the JSON.

        Parts may be on machines whose clocks disagree, so their logs always precede the JSON.
        """
        if log.path != self.log_of(None) or not self._json.exists():
            return False
        return log.path.stat().st_mtime_ns < self._json.stat().st_mtime_ns

    def _check(self, table: Path, columns: Sequence[str]) -> None:
        """Raise `InputError` for a CSV of that name that does not begin with these columns."""
        if table.is_file():
            with table.open("rb") as stream:
                start = stream.read(100)
            if not start.removeprefix(codecs.BOM_UTF8).startswith(",".join(columns).encode()):
                raise InputError(
                    f"{table} is not a manifest and would be overwritten; rename it, or choose "
                    "another folder"
                )

    def _read_json(self) -> list[ManifestRow]:
        if not self._json.exists():
            return []
        try:
            content = json.loads(self._json.read_bytes())
            return parse_rows(content, self.folder, seconds=self._read_timings())
        except ValidationError as error:
            problem = first_problem(error)
        except (ValueError, RecursionError):  # not JSON, or not UTF-8
            problem = "it is damaged, or not JSON"
        raise InputError(
            f"{self._json} cannot be read as a manifest ({problem}); rename it, or choose another "
            "folder"
        )

    def _read_timings(self) -> dict[str, float]:
        """Read the durations; without those that a spreadsheet has changed."""
        seconds: dict[str, float] = {}
        with suppress(ValueError, FileNotFoundError):
            _, rows = read_csv(self._timings.read_text(encoding="utf-8-sig"))
            for row in rows:
                with suppress(ValueError, KeyError):
                    seconds[row["case"]] = float(row["seconds"])
        return seconds
