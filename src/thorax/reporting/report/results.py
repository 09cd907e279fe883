"""The results of a run, gathered from the files that the stages before the report leave."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from thorax.common.errors import InputError
from thorax.common.params import Params
from thorax.common.tables import Table, read_csv, whole
from thorax.datasets.dataset import Case, DatasetSpec
from thorax.imaging.intensity import IntensityScale
from thorax.models.onnx_file import read_model
from thorax.models.spec import ModelSpec

PNG_END = b"IEND\xae\x42\x60\x82"
"""The last of a picture's chunks, which is empty, and its checksum."""

WORDS = ("case", "site", "region", "side")
"""Columns that hold no figure."""

Figures = Mapping[str, float]

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """The figures of one region of one case.

    Args:
        case: Name of the case.
        region: Name of the region.
        figures: Figure → value; NaN where it is undefined.
        site: Where the case comes from; may be empty.
        side: ``right`` or ``left``; empty for both together.
    """

    case: str
    region: str
    figures: Figures
    site: str = ""
    side: str = ""

    def __getitem__(self, figure: str) -> float:
        """A figure; NaN where it is undefined or was not measured."""
        return self.figures.get(figure, math.nan)


@dataclass(frozen=True)
class Source:
    """Cases of a dataset that come from one place and whose voxel values mean the same.

    Args:
        site: Where they come from; may be empty.
        domain: What their voxel values mean.
        cases: How many there are.
    """

    site: str
    domain: IntensityScale
    cases: int


@dataclass(frozen=True)
class Results:
    """All that the report tells of.

    Args:
        params: As in `params.yaml`.
        dataset: What the dataset says of itself.
        regions: Their names, in the order of the labels.
        columns: The figures that `scores.csv` has, defined or not.
        rows: One a case and region, in the order of the file.
        sides: One a case, region and side.
        metrics: As in `summary.json`.
        calibration: Region → bins of the reliability curve.
        history: One an epoch.
        training: As in `training.json`.
        model: What the model says of itself.
        overlays: Case → picture, as the bytes of a PNG.
        digests: Path → digest of what the run began with, as DVC knows it.
        patients: Case → patient, as far as is known.
        sources: One a site and meaning of voxel values in the whole dataset, sorted.
    """

    params: Params
    dataset: DatasetSpec
    regions: tuple[str, ...] = ()
    columns: frozenset[str] = frozenset()
    rows: tuple[Row, ...] = ()
    sides: tuple[Row, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, tuple[Figures, ...]] = field(default_factory=dict)
    history: tuple[Figures, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    model: ModelSpec | None = None
    overlays: Mapping[str, bytes] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the test cases, in the order of the file."""
        return tuple(dict.fromkeys(row.case for row in self.rows))

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, sorted; none where all cases come from one."""
        names = sorted({row.site for row in self.rows})
        return tuple(names) if len(names) > 1 else ()

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the model was trained on and how; empty where there is no model."""
        return self.model.provenance if self.model else {}

    def rows_for(self, region: str, *, site: str | None = None) -> tuple[Row, ...]:
        """The rows of a region, of all sites or of one."""
        rows = (row for row in self.rows if row.region == region)
        return tuple(row for row in rows if site is None or row.site == site)

    def row(self, case: str, region: str) -> Row:
        """The row of a region of a case; one without figures where there is none."""
        rows = (row for row in self.rows if (row.case, row.region) == (case, region))
        return next(rows, Row(case, region, {}))


@dataclass(frozen=True)
class ResultPaths:
    """Where the results lie.

    Args:
        reports: The folder of figures and pictures.
        model: The model file.
        lock: DVC's record of the run; need not be there.
    """

    reports: Path
    model: Path
    lock: Path


def gather(
    places: ResultPaths, *, params: Params, dataset: DatasetSpec, cases: Sequence[Case]
) -> Results:
    """Read what the stages before the report left.

    Only the scores must be there; the page says what else is missing.

    Args:
        places: Where to look.
        params: The knobs of the run.
        dataset: What the dataset says of itself.
        cases: All cases of the dataset, tested or not.

    Raises:
        InputError: There are no scores, or a file is damaged.
    """
    scores = places.reports / "scores.csv"
    if not scores.is_file():
        raise InputError(f"there is no {scores}; run `dvc repro evaluate`")
    columns, lines = _table(scores)
    rows = tuple(_rows(scores, lines))
    metrics = _json(places.reports / "summary.json")
    return Results(
        params=params,
        dataset=dataset,
        regions=tuple(dict.fromkeys([*map(plain, dataset.regions), *(row.region for row in rows)])),
        columns=frozenset(columns),
        rows=rows,
        sides=tuple(read_rows(places.reports / "sides.csv")),
        metrics={plain(region): figures for region, figures in metrics.items()},
        calibration=_by_region(places.reports / "calibration.csv"),
        history=tuple(row.figures for row in read_rows(places.reports / "history.csv")),
        training=_json(places.reports / "training.json"),
        model=read_model(places.model)[0] if places.model.is_file() else None,
        overlays=_pictures(places.reports / "overlays"),
        digests=_digests(places.lock, params.dataset),
        patients={plain(case.name): plain(case.patient) for case in cases},
        sources=tuple(_sources(cases)),
    )


def _sources(cases: Sequence[Case]) -> Iterator[Source]:
    counted = Counter((plain(case.site), str(case.domain)) for case in cases)
    domains = {str(case.domain): case.domain for case in cases}
    for (site, name), number in sorted(counted.items()):
        yield Source(site, domains[name], number)


def plain(text: str) -> str:
    r"""A name without characters that neither XML nor a line of text may hold.

    Example:
        >>> plain("a\x00b\nc")
        'a�b�c'
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)


def number(value: Any) -> float:
    """A figure from a file; NaN for what is empty.

    Example:
        >>> [number(value) for value in ("0.5", "inf", "", None)]
        [0.5, inf, nan, nan]
    """
    return math.nan if value in ("", None) else float(value)


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a table; none where there is no file.

    Raises:
        InputError: A cell that should hold a number does not.
    """
    return _rows(path, _table(path)[1])


def _rows(path: Path, lines: Sequence[dict[str, str]]) -> Iterator[Row]:
    for line in lines:
        words = {name: plain(line.get(name, "")) for name in WORDS}
        figures = {name: _cell(path, line, name) for name in line if name not in WORDS}
        yield Row(figures=figures, **words)


def _cell(path: Path, line: Mapping[str, str], name: str) -> float:
    try:
        return number(line[name])
    except ValueError:
        raise InputError(
            f"{path}: `{name}` must be a number, got {line[name]!r}; make the file again"
        ) from None


def _table(path: Path) -> Table:
    missing: Table = ((), [])
    return _read(path, lambda text: read_csv(whole(text)), missing)


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = _read(path, json.loads, {})
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a mapping; make it again")
    return content


def _read(path: Path, parse: Callable[[str], T], missing: T) -> T:
    if not path.is_file():
        return missing
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read: {reason}") from None


def _by_region(path: Path) -> dict[str, tuple[Figures, ...]]:
    found: dict[str, list[Figures]] = {}
    for row in read_rows(path):
        found.setdefault(row.region, []).append(row.figures)
    return {region: tuple(bins) for region, bins in found.items()}


def _pictures(folder: Path) -> dict[str, bytes]:
    return {plain(path.stem): _picture(path) for path in sorted(folder.glob("*.png"))}


def _picture(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.endswith(PNG_END):
        raise InputError(f"{path} is cut short; make it again with `dvc repro -sf evaluate`")
    return content


def _digests(lock: Path, dataset: str) -> dict[str, str]:
    """What the first stage read of the dataset, and its digest."""
    content: dict[str, Any] = _read(lock, yaml.safe_load, {}) or {}
    depends = content.get("stages", {}).get("prepare", {}).get("deps", ())
    return {
        item["path"]: f"{item['hash']} {item[item['hash']]}"
        for item in depends
        if item["path"].startswith(f"data/{dataset}/") and item.get("hash") in item
    }
