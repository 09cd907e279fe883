"""Join a CSV table of patients to the scans of a cohort by the name of the case."""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.tables import plain_cell
from thorax.common.text import counted, listed
from thorax.evaluation.cohort.scans import Cohort, PatientValue
from thorax.inference.cohort.read import MOST_NAMED

DELIMITERS = ",;\t"
"""Spreadsheets of countries with a decimal comma separate cells by semicolons."""

# Numbers that have the same digits when they are written again: no leading zeros, no exponents.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")

Patients = dict[str, dict[str, PatientValue]]
"""Case → column → value."""

_Row = list[str]


def join_patients(cohort: Cohort, path: Path, *, key: str, taken: Iterable[str]) -> Cohort:
    """Add the columns of a table of patients to the scans.

    Args:
        cohort: The scans.
        path: CSV in UTF-8, separated by commas, semicolons or tabs.
        key: Column with the names of the cases.
        taken: Names that no column of the patients may have.

    Returns:
        The cohort with patients, and notes on cases without a patient and patients without a case.

    Raises:
        InputError: The table cannot be read, lacks the key, has a case twice, or has a column with
            the name of another one.
    """
    columns, patients = read_patients(path, key)
    if collisions := [name for name in columns if name in set(taken)]:
        raise InputError(
            f"{path}: a column of patients cannot have the name of a column of measurements, got "
            f"{listed(collisions)}; rename it"
        )
    scans = tuple(replace(scan, patient=patients.get(scan.case)) for scan in cohort.scans)
    cases = [scan.case for scan in scans if scan.patient is None]
    surplus = sorted(patients.keys() - {scan.case for scan in scans})
    notes = (
        *_unmatched(cases, "case", f"no patient in {path}"),
        *_unmatched(surplus, "patient", "no case in the manifest"),
    )
    return Cohort(scans, columns, (*cohort.notes, *notes))


def read_patients(path: Path, key: str) -> tuple[tuple[str, ...], Patients]:
    """Read a table of patients; empty rows and empty columns without a name are left out.

    Args:
        path: CSV in UTF-8 with or without byte order mark.
        key: Column with the names of the cases.

    Returns:
        The columns without the key, and the patients by case.

    Raises:
        InputError: See `join_patients`.
    """
    header, rows = _table(path, key)
    patients: Patients = {}
    for number, row in rows:
        cells = dict(zip(header, row, strict=True))
        case = cells.pop(key)
        if not case:
            raise InputError(f"{path}: each row needs a `{key}`, but line {number} has none")
        if case in patients:
            raise InputError(
                f"{path}: each `{key}` may have one row, but {case} has a second one in line "
                f"{number}; remove one"
            )
        cells.pop("", None)
        patients[case] = {name: _value(cell) for name, cell in cells.items()}
    return tuple(name for name in header if name not in (key, "")), patients


def _unmatched(names: Sequence[str], noun: str, lack: str) -> Iterator[str]:
    if names:
        verb = "has" if len(names) == 1 else "have"
        yield f"{counted(len(names), noun)} {verb} {lack}: {listed(names, at_most=MOST_NAMED)}"


def _table(path: Path, key: str) -> tuple[list[str], list[tuple[int, _Row]]]:
    """Return the header, and the rows with their line numbers; all as long as the header."""
    text = _text(path)
    delimiter = _delimiter(text, key, path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, [plain_cell(cell.strip()) for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path} must be CSV: {error}; save it as CSV again") from None
    (_, header), *rows = lines
    rows = [(number, row) for number, row in rows if any(row)]
    _check(path, header, rows)
    return header, rows


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check --patients") from None
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        raise InputError(
            f"{path} must be CSV in UTF-8; in a spreadsheet, save it as `CSV UTF-8`"
        ) from None


def _delimiter(text: str, key: str, path: Path) -> str:
    """Return the delimiter with which the first line has the key."""
    first = text.partition("\n")[0].rstrip("\r")
    headers = {}
    for delimiter in DELIMITERS:
        try:
            cells = next(csv.reader([first], delimiter=delimiter), [])
        except csv.Error:  # a very long cell, as in JSON of one line
            cells = []
        headers[delimiter] = [plain_cell(cell.strip()) for cell in cells]
    for delimiter, header in headers.items():
        if key in header:
            return delimiter
    longest = max(headers.values(), key=len)
    raise InputError(
        f"{path} must have a column `{key}` with the names of the cases, got "
        f"{listed(filter(None, longest), at_most=10)}; name the column with --key"
    )


def _check(path: Path, header: Sequence[str], rows: Sequence[tuple[int, _Row]]) -> None:
    for number, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}: each row must have {len(header)} cells like the header, but line "
                f"{number} has {len(row)}; correct it"
            )
    for index, name in enumerate(header):
        if name and name in header[:index]:
            raise InputError(
                f"{path}: columns need different names, got `{name}` twice; rename one"
            )
        if not name and any(row[index] for _, row in rows):
            raise InputError(
                f"{path}: each column needs a name, but column {index + 1} has none; add one"
            )


def _value(cell: str) -> PatientValue:
    return Decimal(cell) if _NUMBER.fullmatch(cell) else cell
