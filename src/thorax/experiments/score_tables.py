"""Score tables from files, DVC experiments and git revisions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.project import project_root, try_git
from thorax.common.tables import read_csv
from thorax.evaluation.scores import LABELS, ScoreRow, read_score_rows
from thorax.evaluation.summary import summarise_values

SCORES = "scores.csv"

_REPORTED = f"reports/{SCORES}"


@dataclass(frozen=True)
class ScoreTable:
    """A `scores.csv`, or a table with the same columns.

    Args:
        name: Name of the table, for people.
        columns: Columns of the file.
        rows: Column → cell, as text.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Columns with metrics."""
        return tuple(column for column in self.columns if column not in LABELS)

    def values(self, metric: str) -> dict[str, dict[str, float]]:
        """Return region → case → value of a metric; the mean over seeds and folds with a case.

        Undefined values, which are empty cells, are NaN. In a table of sides, each side of a region
        is a separate region.

        Raises:
            InputError: A cell is not a number, or a case is listed twice.
        """
        by_run: dict[str, dict[str, dict[tuple[str, str], float]]] = {}
        for row in self._read(metric):
            region = " ".join(filter(None, (row.region, row.side)))
            runs = by_run.setdefault(region, {}).setdefault(row.case, {})
            if (row.seed, row.fold) in runs:
                raise InputError(
                    f"{self.name}: a case must be listed once for each region, but {row.case}, "
                    f"{region} is listed twice; remove one row"
                )
            runs[row.seed, row.fold] = row[metric]
        return {
            region: {case: summarise_values(runs.values()).mean for case, runs in cases.items()}
            for region, cases in by_run.items()
        }

    def paired(self, first: str, second: str) -> dict[str, list[tuple[float, float]]]:
        """Return, by region, two metrics of each case in which both are defined and finite.

        With several runs of a case, their means are returned.

        Raises:
            InputError: There is no such column, or a cell is not a number.
        """
        for metric in (first, second):
            check_metric(metric, [self])
        by_case: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for row in self._read(first, second):
            pair = row[first], row[second]
            if all(map(math.isfinite, pair)):
                by_case.setdefault(row.region, {}).setdefault(row.case, []).append(pair)
        return {
            region: [_mean_pair(pairs) for pairs in cases.values()]
            for region, cases in by_case.items()
        }

    def _read(self, *metrics: str) -> Iterable[ScoreRow]:
        return read_score_rows(self.rows, metrics, source=self.name)


def _mean_pair(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    first, second = zip(*pairs, strict=True)
    return summarise_values(first).mean, summarise_values(second).mean


def read_tables(arguments: Sequence[str], folder: Path) -> list[ScoreTable]:
    """Read tables given as SOURCE or NAME=SOURCE.

    Args:
        arguments: SOURCE is a file, a folder with `scores.csv` or `reports/scores.csv`, the name of
            a DVC experiment or a git revision, tried in this order.
        folder: Start of relative paths; inside the project.

    Raises:
        InputError: A source does not exist or has no scores, or two tables have the same name.
    """
    named = [_named(argument, folder) for argument in arguments]
    names = [name for name, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"tables need different names, got {name} twice; use NAME=SOURCE")
    return [parse_table(name, _read(source, folder)) for name, source in named]


def parse_table(name: str, text: str) -> ScoreTable:
    r"""Parse the text of a score table.

    Raises:
        InputError: A column or a cell is missing, or there are no rows.

    Example:
        >>> parse_table("new", "case,region,dice\nann,lung,0.5\n").values("dice")
        {'lung': {'ann': 0.5}}
    """
    try:
        columns, rows = read_csv(text)
    except ValueError as error:
        raise InputError(f"{name} is not a table: {error}; give a CSV file of scores") from None
    if missing := {"case", "region"} - set(columns):
        raise InputError(
            f"a score table must have the columns case and region, but {name} has no "
            f"{' and no '.join(sorted(missing))}; give a scores.csv"
        )
    if not rows:
        raise InputError(f"a score table must have at least one row, but {name} has none")
    return ScoreTable(name, columns, tuple(rows))


def check_metric(metric: str, tables: Sequence[ScoreTable]) -> None:
    """Check that all tables have a metric.

    Raises:
        InputError: A table has no such column; the message lists the columns that all have.
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
        raise InputError(f"a table is given as SOURCE or NAME=SOURCE, got {argument}")
    return name, source


def _read(source: str, folder: Path) -> str:
    path = folder / source
    if path.is_dir():
        candidates = [path / SCORES, path / _REPORTED]
        table = next((candidate for candidate in candidates if candidate.is_file()), None)
        if table is None:
            raise InputError(
                f"a folder must contain {SCORES} or {_REPORTED}, but {source} does not; give the "
                "path of a table"
            )
        path = table
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{source} cannot be read as a table: {error}") from None
    return _committed(source, project_root(folder))


def _committed(source: str, project: Path) -> str:
    """Return the scores of an experiment or a revision."""
    rule = "a table must be a file, a folder, an experiment or a git revision"
    if (repository := try_git(project, "rev-parse", "--git-dir")).returncode:
        raise InputError(f"{rule}, got {source}; git reports: {_first_line(repository.stderr)}")
    reference = _experiment(source, project) or source
    commit = try_git(
        project, "rev-parse", "--verify", "--end-of-options", f"{reference}^{{commit}}"
    )
    if commit.returncode:
        raise InputError(f"{rule}, got {source}")
    scores = try_git(project, "show", f"{commit.stdout.strip()}:./{_REPORTED}")
    if scores.returncode:
        raise InputError(
            f"a revision must contain {_REPORTED} under git, but {source} does not; give the path "
            "of a table"
        )
    return scores.stdout


def _experiment(name: str, project: Path) -> str | None:
    """Return the git reference of an experiment: refs/exps/<2>/<38 digits>/<name>."""
    references = try_git(project, "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    matching = [ref for ref in references if ref.count("/") == 4 and ref.endswith(f"/{name}")]
    if len(matching) > 1:
        raise InputError(
            f"an experiment must have a unique name, but several are named {name}; give "
            f"{' or '.join(matching)}"
        )
    return matching[0] if matching else None


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
