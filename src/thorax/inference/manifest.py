"""The manifest of a batch of scans: status, volumes and warnings per scan.

Each row is appended to a log and flushed immediately, so that a killed batch can resume. At the end
the tables are written, scans that need review first.
"""

import codecs
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from thorax.common.errors import InputError, first_problem
from thorax.common.files import lock_file, write_text
from thorax.common.tables import as_csv
from thorax.models.spec import ExpectedDice

DONE, STARTED, FAILED = "done", "started", "failed"

_FIXED = (
    "case",
    "status",
    "seconds",
    "quality_warnings",
    "warnings",
    "error",
    "intensity",
    "model",
)

_START = ",".join(_FIXED[:3])


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ManifestRow:
    """The result of one scan.

    Args:
        case: Name of the scan within the batch.
        status: ``done``, ``started`` or ``failed``.
        scan: The file or folder of the scan.
        mask: The file of the mask.
        model: Digest of the model or models.
        settings: Everything else that the mask depends on.
        seconds: Time from the end of the previous scan to the end of this one.
        intensity: Detected meaning of the voxel values.
        volumes_ml: Region name → volume.
        certainty: Region name → certainty; see `thorax.inference.quality.certainty`.
        expected_dice: Region name → expected Dice, for regions where the model can estimate it; see
            `thorax.inference.expected_dice`.
        quality_warnings: Reasons to review the mask.
        warnings: Notes on the scan and the postprocessing.
        error: Reason of a failure.
    """

    case: str
    status: str
    scan: str
    mask: str
    model: str
    settings: str
    seconds: float = 0.0
    intensity: str = ""
    volumes_ml: dict[str, float] = field(default_factory=dict)
    certainty: dict[str, float | None] = field(default_factory=dict)
    expected_dice: dict[str, ExpectedDice] = field(default_factory=dict)
    quality_warnings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""


class Manifest:
    """The manifest in a folder of masks: a hidden log during the batch, CSV and JSON at the end.

    Args:
        folder: The folder.

    Raises:
        InputError: An existing file of that name is damaged, or is not a manifest.
    """

    def __init__(self, folder: Path) -> None:
        self._log = folder / ".manifest.jsonl"
        self._table, self._json = folder / "manifest.csv", folder / "manifest.json"
        self.rows = self._read()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the folder against other batches while the body runs.

        Drives without locks, and Windows, do not support this.

        Raises:
            InputError: Another batch is running in the folder, or it cannot be written.
        """
        with self._locked_log():
            # Another batch may have ended since the rows were read.
            self.rows = self._read()
            yield

    def add(self, row: ManifestRow) -> None:
        """Add a row, or replace that of the same case, and append it to the log.

        NaN and infinite values are omitted: JSON has neither.

        Raises:
            InputError: The folder cannot be written.
        """
        finite = _without_nan(row)
        self.rows[row.case] = finite
        # The line break comes first, because the previous line may be incomplete.
        line = "\n" + json.dumps(asdict(finite), allow_nan=False)
        try:
            with self._open_log() as stream:
                stream.write(line)
        except OSError as error:
            raise self._write_error(error) from None

    def write(self) -> None:
        """Write the tables: failed scans first, then those with quality warnings, then by name.

        Raises:
            InputError: The folder cannot be written.
        """
        rows = sorted(self.rows.values(), key=_review_order)
        content = [asdict(row) for row in rows]
        write_text(self._json, json.dumps(content, indent=1, allow_nan=False) + "\n")
        write_text(self._table, _with_byte_order_mark(manifest_csv(rows)))
        self._log.unlink(missing_ok=True)

    def _locked_log(self) -> TextIO:
        while True:
            stream = self._open_log()
            try:
                lock_file(stream.fileno())
                # The previous batch may have removed it after it was opened here.
                if os.path.samestat(os.fstat(stream.fileno()), self._log.stat()):
                    return stream
            except BlockingIOError:
                stream.close()
                raise InputError(
                    f"another `thorax predict` is writing to {self._log.parent}; wait for it, or "
                    "choose another output folder"
                ) from None
            except FileNotFoundError:
                pass
            except OSError:  # a drive or system without locks
                return stream
            stream.close()

    def _open_log(self) -> TextIO:
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            return self._log.open("a", encoding="utf-8")
        except OSError as error:
            raise self._write_error(error) from None

    def _write_error(self, error: OSError) -> InputError:
        reason = error.strerror or error
        return InputError(
            f"cannot write {self._log}: {reason}; choose a folder that can be written"
        )

    def _read(self) -> dict[str, ManifestRow]:
        try:
            if not self._json.exists():
                _check_table(self._table)
            return {row.case: row for row in (*_read_json(self._json), *_read_log(self._log))}
        except OSError as error:
            raise InputError(
                f"{error.filename} cannot be read: {error.strerror}; choose another folder"
            ) from None


def manifest_csv(rows: Sequence[ManifestRow]) -> str:
    """Return the rows as CSV; lists are joined by semicolons, and line breaks become spaces."""
    kinds = ["ml", "certainty"]
    if any(row.expected_dice for row in rows):
        kinds.append("expected_dice")
    names = ((*row.volumes_ml, *row.certainty, *row.expected_dice) for row in rows)
    regions = dict.fromkeys(chain.from_iterable(names))
    values = [f"{region}_{kind}" for region in regions for kind in kinds]
    return as_csv(map(_cells, rows), (*_FIXED[:3], *values, *_FIXED[3:], "scan", "mask"))


def _cells(row: ManifestRow) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in (*_FIXED, "scan", "mask")},
        **{f"{region}_ml": ml for region, ml in row.volumes_ml.items()},
        **{f"{region}_certainty": certainty for region, certainty in row.certainty.items()},
        **{f"{region}_expected_dice": value.dice for region, value in row.expected_dice.items()},
        "quality_warnings": _one_line("; ".join(row.quality_warnings)),
        "warnings": _one_line("; ".join(row.warnings)),
        "error": _one_line(row.error),
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _with_byte_order_mark(table: str) -> str:
    """Mark a table with non-ASCII characters as UTF-8, and escape invalid file names."""
    # Without the mark, Excel assumes the code page of the country.
    mark = "" if table.isascii() else "\N{BYTE ORDER MARK}"
    return mark + table.encode("utf-8", "backslashreplace").decode("utf-8")


def _without_nan(row: ManifestRow) -> ManifestRow:
    return replace(
        row,
        volumes_ml={name: ml for name, ml in row.volumes_ml.items() if math.isfinite(ml)},
        certainty={
            name: value if value is not None and math.isfinite(value) else None
            for name, value in row.certainty.items()
        },
    )


def _check_table(table: Path) -> None:
    """Raise `InputError` for a CSV of that name that is not a manifest."""
    if table.is_file():
        with table.open("rb") as stream:
            start = stream.read(100)
        if not start.removeprefix(codecs.BOM_UTF8).startswith(_START.encode()):
            raise InputError(
                f"{table} is not a manifest and would be overwritten; rename it, or choose another "
                "folder"
            )


def _read_json(path: Path) -> list[ManifestRow]:
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_bytes())
        return TypeAdapter(list[ManifestRow]).validate_python(_with_new_names(content))
    except ValidationError as error:
        problem = first_problem(error)
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        problem = "it is damaged, or not JSON"
    raise InputError(
        f"{path} cannot be read as a manifest ({problem}); rename it, or choose another folder"
    )


def _read_log(log: Path) -> Iterator[ManifestRow]:
    """Yield the rows of a batch that was killed, without incomplete lines."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    adapter: TypeAdapter[list[ManifestRow]] = TypeAdapter(list[ManifestRow])
    for line in text.splitlines():
        try:
            yield from adapter.validate_python(_with_new_names([json.loads(line)]))
        except (ValueError, RecursionError):  # pydantic's error is a ValueError
            continue


def _with_new_names(rows: Any) -> Any:
    """Rename the key of version 0.1."""
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and "doubts" in row:
            row["quality_warnings"] = row.pop("doubts")
    return rows


def _review_order(row: ManifestRow) -> tuple[bool, int, str]:
    return (row.status == DONE, -len(row.quality_warnings), row.case)
