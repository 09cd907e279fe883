"""Score tables of files, experiments and git revisions, as a person names them."""

import math
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.tables import read_csv
from thorax.imaging.overlap import mean_defined

SCORES = "scores.csv"

_REPORTED = f"reports/{SCORES}"

_WORDS = ("case", "site", "region", "side", "seed", "fold")
"""Columns that say what a row is of; all others are figures."""


@dataclass(frozen=True)
class ScoreTable:
    """A `scores.csv`, or a table like it.

    Args:
        name: What people call it.
        columns: As in the file.
        rows: Column → cell, as written.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The columns with figures."""
        return tuple(column for column in self.columns if column not in _WORDS)

    def figures(self, metric: str) -> dict[str, dict[str, float]]:
        """Region → case → figure; a case that was scored with several seeds has its mean over them.

        Undefined figures, which are empty cells, are NaN. Where there are sides, each side of a
        region is a region of its own.

        Raises:
            InputError: A cell is no number, or a case stands twice.
        """
        found: dict[str, dict[str, dict[str, float]]] = {}
        for row in self.rows:
            region = " ".join(filter(None, (row["region"], row.get("side"))))
            seeds = found.setdefault(region, {}).setdefault(row["case"], {})
            seed = row.get("seed", "")
            if seed in seeds:
                raise InputError(
                    f"a case must stand once for each region, but {self.name} has {row['case']}, "
                    f"{region} twice"
                )
            seeds[seed] = self._number(row, metric)
        return {
            region: {case: mean_defined(seeds.values()) for case, seeds in cases.items()}
            for region, cases in found.items()
        }

    def paired(self, first: str, second: str) -> dict[str, list[tuple[float, float]]]:
        """Region → both figures of each case, from the predictions that have both.

        A case that was scored with several seeds has the means over them.

        Raises:
            InputError: There is no such column, or a cell is no number.
        """
        for metric in (first, second):
            check_metric(metric, [self])
        found: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for row in self.rows:
            pair = self._number(row, first), self._number(row, second)
            if all(map(math.isfinite, pair)):
                found.setdefault(row["region"], {}).setdefault(row["case"], []).append(pair)
        return {
            region: [_mean_pair(pairs) for pairs in cases.values()]
            for region, cases in found.items()
        }

    def _number(self, row: dict[str, str], metric: str) -> float:
        cell = row[metric]
        try:
            return float(cell or "nan")
        except ValueError:
            raise InputError(
                f"{metric} must be numbers, but {self.name} has {cell!r} for {row['case']}, "
                f"{row['region']}"
            ) from None


def _mean_pair(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    first, second = zip(*pairs, strict=True)
    return statistics.mean(first), statistics.mean(second)


def read_tables(arguments: Sequence[str], folder: Path) -> list[ScoreTable]:
    """The tables that a person names, each as SOURCE or NAME=SOURCE.

    Args:
        arguments: SOURCE is a file, a folder that holds `scores.csv` or `reports/scores.csv`, the
            name of a DVC experiment or a git revision, looked for in this order.
        folder: Where paths start from, and where the project is.

    Raises:
        InputError: There is no such source, it has no scores, or two tables have one name.
    """
    named = [_named(argument, folder) for argument in arguments]
    names = [name for name, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"tables need names of their own, got {name} twice; use NAME=SOURCE")
    return [parse_table(name, _read(source, folder)) for name, source in named]


def parse_table(name: str, text: str) -> ScoreTable:
    r"""A table out of the text of its file.

    Raises:
        InputError: It lacks a column or cells, or has no rows.

    Example:
        >>> parse_table("new", "case,region,dice\nann,lung,0.5\n").figures("dice")
        {'lung': {'ann': 0.5}}
    """
    try:
        columns, rows = read_csv(text)
    except ValueError as error:
        raise InputError(f"{name} is no table: {error}; give a CSV of scores") from None
    if missing := {"case", "region"} - set(columns):
        raise InputError(
            f"a score table must have columns case and region, but {name} has no "
            f"{' and no '.join(sorted(missing))}"
        )
    if not rows:
        raise InputError(f"a score table must have a row at least, but {name} has none")
    return ScoreTable(name, columns, tuple(rows))


def check_metric(metric: str, tables: Sequence[ScoreTable]) -> None:
    """See that all tables have a column.

    Raises:
        InputError: One has not; the message names those that all have.
    """
    common = [name for name in tables[0].metrics if all(name in table.metrics for table in tables)]
    for table in tables:
        if metric not in table.metrics:
            raise InputError(
                f"the metric must be a column of every table, but {table.name} has no {metric}; "
                f"all have {', '.join(common) or 'none in common'}"
            )


def _named(argument: str, folder: Path) -> tuple[str, str]:
    name, equals, source = argument.partition("=")
    if not equals or (folder / argument).exists():
        return argument, argument
    if not name or not source:
        raise InputError(f"a table is named as NAME=SOURCE, got {argument}")
    return name, source


def _read(source: str, folder: Path) -> str:
    path = folder / source
    if path.is_dir():
        places = [path / SCORES, path / _REPORTED]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise InputError(f"a folder must hold {SCORES} or {_REPORTED}, but {source} does not")
        path = found
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{source} cannot be read as a table: {error}") from None
    return _committed(source, _project(folder))


def _committed(source: str, project: Path) -> str:
    """The scores of an experiment or a revision."""
    rule = "a table must be a file, a folder, an experiment or a git revision"
    if (refusal := _git(project, "rev-parse", "--git-dir")).returncode:
        raise InputError(f"{rule}, got {source}; git says: {_first_line(refusal.stderr)}")
    reference = _experiment(source, project) or source
    commit = _git(project, "rev-parse", "--verify", "--end-of-options", f"{reference}^{{commit}}")
    if commit.returncode:
        raise InputError(f"{rule}, got {source}")
    shown = _git(project, "show", f"{commit.stdout.strip()}:./{_REPORTED}")
    if shown.returncode:
        raise InputError(
            f"a revision must hold {_REPORTED} under git, but {source} does not; give the path of "
            "a table instead"
        )
    return shown.stdout


def _experiment(name: str, project: Path) -> str | None:
    """The git reference of an experiment; DVC keeps them as refs/exps/<2>/<38 digits>/<name>."""
    listed = _git(project, "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    found = [ref for ref in listed if ref.count("/") == 4 and ref.endswith(f"/{name}")]
    if len(found) > 1:
        raise InputError(
            f"experiments on several commits are named {name}; give one as {' or '.join(found)}"
        )
    return found[0] if found else None


def _project(folder: Path) -> Path:
    """The top folder of the project that a folder is in; the folder itself if there is none."""
    top = folder.resolve()
    return next((it for it in (top, *top.parents) if (it / ".dvc").is_dir()), top)


def _git(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["git", *arguments]
    try:
        return subprocess.run(
            command,
            cwd=project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8-sig",
            errors="replace",
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "git is not installed")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
