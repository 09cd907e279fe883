"""The manifest of a batch of scans: what was done with each, written as it goes.

Each line is appended and flushed at once, so that a batch that was killed knows how far it came; at
the end the table is written anew, the scans to look at first at its top.
"""

import codecs
import fcntl
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any, TextIO

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from thorax.common.errors import InputError, first_problem
from thorax.common.files import write_text
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


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Row:
    """What was done with one scan.

    Args:
        case: Name of the scan within the batch.
        status: ``done``, ``started`` or ``failed``.
        scan: The file or folder that was read.
        mask: The file that was written.
        model: Digest of the model or models.
        settings: Digest of all else that the mask depends on.
        seconds: From the end of the case before to the end of this one.
        intensity: What its voxel values were taken for.
        volumes_ml: Of each region.
        certainty: Of each region; see `thorax.inference.quality.certainty`.
        expected_dice: Of each region, where the model knows what its certainty stands for; see
            `thorax.inference.expected_dice`.
        quality_warnings: Why to look at it first.
        warnings: What else to know.
        error: Why it failed.
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
    """The manifest of a folder of masks: a hidden log as it goes, CSV and JSON at the end.

    Args:
        folder: Where the masks go.

    Raises:
        InputError: A file of that name is there that is damaged, or that is no manifest.
    """

    def __init__(self, folder: Path) -> None:
        self._log = folder / ".manifest.jsonl"
        self._table, self._json = folder / "manifest.csv", folder / "manifest.json"
        self.rows = self._known()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other batches out of the folder for as long as the body runs.

        Drives that know no locks keep nobody out.

        Raises:
            InputError: Another batch is at work there, or the folder cannot be written.
        """
        with self._locked():
            # Another batch may have ended since the rows were read.
            self.rows = self._known()
            yield

    def add(self, row: Row) -> None:
        """Note a row, in the file too.

        Figures that are no number are left out: neither JSON nor spreadsheets know them.

        Raises:
            InputError: The folder cannot be written.
        """
        known = _known(row)
        self.rows[row.case] = known
        # The line comes after its break, for the one before may have been cut short.
        line = "\n" + json.dumps(asdict(known), allow_nan=False)
        try:
            with self._opened() as stream:
                stream.write(line)
        except OSError as error:
            raise self._refused(error) from None

    def write(self) -> None:
        """Write the tables, failed cases first, then those in doubt, then by name.

        Raises:
            InputError: The folder cannot be written.
        """
        rows = sorted(self.rows.values(), key=_first_to_look_at)
        content = [asdict(row) for row in rows]
        write_text(self._json, json.dumps(content, indent=1, allow_nan=False) + "\n")
        write_text(self._table, _for_spreadsheets(table_of(rows)))
        self._log.unlink(missing_ok=True)

    def _locked(self) -> TextIO:
        """The log, which nobody else has locked."""
        while True:
            stream = self._opened()
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The batch before may have removed it after it was opened here.
                if os.path.samestat(os.fstat(stream.fileno()), self._log.stat()):
                    return stream
            except BlockingIOError:
                stream.close()
                raise InputError(
                    f"another batch is at work in {self._log.parent}; wait for its end, or put "
                    "masks, or the table of pairs, elsewhere"
                ) from None
            except FileNotFoundError:
                pass
            except OSError:  # a drive that knows no locks
                return stream
            stream.close()

    def _opened(self) -> TextIO:
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            return self._log.open("a", encoding="utf-8")
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> InputError:
        reason = error.strerror or error
        return InputError(
            f"cannot write {self._log}: {reason}; choose a folder that can be written"
        )

    def _known(self) -> dict[str, Row]:
        try:
            return {row.case: row for row in self._before()}
        except OSError as error:
            raise InputError(
                f"{error.filename} cannot be read: {error.strerror}; choose another folder"
            ) from None

    def _before(self) -> list[Row]:
        if not self._json.exists():
            _check_table(self._table)
        return [*_rows_of(self._json), *_logged(self._log)]


def table_of(rows: Sequence[Row]) -> str:
    """The rows as CSV; lists are joined by semicolons, and texts take one line each."""
    kinds = ["ml", "certainty"]
    if any(row.expected_dice for row in rows):
        kinds.append("expected_dice")
    found = ((*row.volumes_ml, *row.certainty, *row.expected_dice) for row in rows)
    regions = dict.fromkeys(name for names in found for name in names)
    figures = [f"{region}_{kind}" for region in regions for kind in kinds]
    names = (*_FIXED[:3], *figures, *_FIXED[3:], "scan", "mask")
    return as_csv(map(_cells, rows), names)


def _cells(row: Row) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in (*_FIXED, "scan", "mask")},
        **{f"{region}_ml": ml for region, ml in row.volumes_ml.items()},
        **{f"{region}_certainty": figure for region, figure in row.certainty.items()},
        **{f"{region}_expected_dice": told.dice for region, told in row.expected_dice.items()},
        "quality_warnings": _one_line("; ".join(row.quality_warnings)),
        "warnings": _one_line("; ".join(row.warnings)),
        "error": _one_line(row.error),
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _for_spreadsheets(table: str) -> str:
    """Mark a table with other than ASCII letters as UTF-8; names that are none are escaped."""
    # Excel takes what is not marked for the code page of its country.
    mark = "" if table.isascii() else "\N{BYTE ORDER MARK}"
    return mark + table.encode("utf-8", "backslashreplace").decode("utf-8")


def _known(row: Row) -> Row:
    return replace(
        row,
        volumes_ml={name: ml for name, ml in row.volumes_ml.items() if math.isfinite(ml)},
        certainty={
            name: figure if figure is not None and math.isfinite(figure) else None
            for name, figure in row.certainty.items()
        },
    )


def _check_table(table: Path) -> None:
    """Raise `InputError` for a CSV of that name which is not ours: it would be written over."""
    if table.is_file():
        with table.open("rb") as stream:
            start = stream.read(100)
        if not start.removeprefix(codecs.BOM_UTF8).startswith(_START.encode()):
            raise InputError(
                f"{table} is no manifest of this program and would be written over; rename it, or "
                "choose another folder"
            )


def _rows_of(path: Path) -> list[Row]:
    """What is known from an earlier batch."""
    if not path.exists():
        return []
    try:
        return TypeAdapter(list[Row]).validate_python(json.loads(path.read_bytes()))
    except ValidationError as error:
        problem = first_problem(error)
    except (ValueError, RecursionError):  # no JSON, or no UTF-8
        problem = "it is damaged, or no JSON"
    raise InputError(
        f"{path} cannot be read as the manifest of a batch ({problem}); rename it, or choose "
        "another folder"
    )


def _logged(log: Path) -> Iterator[Row]:
    """What is known from a batch that was killed; a line that was cut short is none."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    row_of: TypeAdapter[Any] = TypeAdapter(Row)
    for line in text.splitlines():
        try:
            yield row_of.validate_python(json.loads(line))
        except (ValueError, RecursionError):  # that of pydantic is one
            continue


def _first_to_look_at(row: Row) -> tuple[bool, int, str]:
    return (row.status == DONE, -len(row.quality_warnings), row.case)
