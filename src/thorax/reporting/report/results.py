"""All results of a run, read from the files of the earlier stages into one object."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from thorax.common.errors import InputError
from thorax.common.params import Params
from thorax.common.tables import Table, read_csv, require_complete
from thorax.datasets.dataset import Case, DatasetSpec
from thorax.evaluation.lesion_rows import LesionRow, read_lesion_rows
from thorax.evaluation.scores import ScoreRow, read_score_rows
from thorax.imaging.intensity import IntensityScale
from thorax.models.onnx_file import read_model
from thorax.models.spec import ModelSpec

PNG_END = b"IEND\xae\x42\x60\x82"
"""Last chunk of a PNG file, and its checksum."""

MetricValues = Mapping[str, float]

T = TypeVar("T")


@dataclass(frozen=True)
class IntensitySource:
    """Cases of a dataset from one site with one intensity scale.

    Args:
        site: Name of the site; may be empty.
        scale: Intensity scale of their voxel values.
        cases: Number of cases.
    """

    site: str
    scale: IntensityScale
    cases: int


@dataclass(frozen=True)
class Results:
    """Everything that the report shows.

    Args:
        params: Content of `params.yaml`.
        dataset: Content of `dataset.yaml`.
        regions: Names of the regions, in the order of the labels.
        columns: Columns of `scores.csv`, defined or not.
        rows: One row per case and region, in the order of the file.
        sides: One row per case, region and side.
        summary: Content of `summary.json`.
        calibration: Region → bins of the reliability curve.
        lesions: One row per lesion of the regions that are scored lesion-wise; None if they were
            not listed.
        history: One row per epoch.
        training: Content of `training.json`.
        model: Spec of the model.
        overlays: Case → picture, as the bytes of a PNG.
        digests: Path → digest of the input files, from `dvc.lock`.
        patients: Case → patient.
        sources: Sites and intensity scales of the whole dataset, sorted.
    """

    params: Params
    dataset: DatasetSpec
    regions: tuple[str, ...] = ()
    columns: frozenset[str] = frozenset()
    rows: tuple[ScoreRow, ...] = ()
    sides: tuple[ScoreRow, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, tuple[MetricValues, ...]] = field(default_factory=dict)
    lesions: tuple[LesionRow, ...] | None = None
    history: tuple[MetricValues, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    model: ModelSpec | None = None
    overlays: Mapping[str, bytes] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[IntensitySource, ...] = ()

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the test cases, in the order of the file."""
        return tuple(dict.fromkeys(row.case for row in self.rows))

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, sorted; empty if all cases are from one site."""
        names = sorted({row.site for row in self.rows})
        return tuple(names) if len(names) > 1 else ()

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Training provenance of the model; empty without a model."""
        return self.model.provenance if self.model else {}

    def rows_for(self, region: str, *, site: str | None = None) -> tuple[ScoreRow, ...]:
        """Return the rows of a region, of all sites or of one."""
        rows = (row for row in self.rows if row.region == region)
        return tuple(row for row in rows if site is None or row.site == site)


@dataclass(frozen=True)
class ResultPaths:
    """Paths of the result files.

    Args:
        reports: Folder of tables and pictures.
        model: Model file.
        lock: `dvc.lock`, DVC's record of the run; may be missing.
    """

    reports: Path
    model: Path
    lock: Path


def load_results(
    paths: ResultPaths, *, params: Params, dataset: DatasetSpec, cases: Sequence[Case]
) -> Results:
    """Read the results of the earlier stages.

    Only the scores are required; the page states what else is missing.

    Args:
        paths: Paths of the files.
        params: Parameters of the run.
        dataset: Content of `dataset.yaml`.
        cases: All cases of the dataset, tested or not.

    Raises:
        InputError: There are no scores, or a file is damaged.
    """
    reports = paths.reports
    scores = reports / "scores.csv"
    if not scores.is_file():
        raise InputError(f"there is no {scores}; run `dvc repro evaluate`")
    columns, cells = _table(scores)
    rows = tuple(_rows(scores, cells))
    summary = _json(reports / "summary.json")
    names = [*map(xml_safe, dataset.regions), *(row.region for row in rows)]
    return Results(
        params=params,
        dataset=dataset,
        regions=tuple(dict.fromkeys(names)),
        columns=frozenset(columns),
        rows=rows,
        sides=tuple(_read_rows(reports / "sides.csv")),
        summary={xml_safe(region): metrics for region, metrics in summary.items()},
        calibration=_by_region(reports / "calibration.csv"),
        lesions=_lesions(reports / "lesions.csv"),
        history=tuple(row.metrics for row in _read_rows(reports / "history.csv")),
        training=_json(reports / "training.json"),
        model=read_model(paths.model)[0] if paths.model.is_file() else None,
        overlays=_pictures(reports / "overlays"),
        digests=_digests(paths.lock, params.dataset),
        patients={xml_safe(case.name): xml_safe(case.patient) for case in cases},
        sources=tuple(_sources(cases)),
    )


def xml_safe(text: str) -> str:
    r"""Replace characters that neither XML nor a line of text may contain.

    Example:
        >>> xml_safe("a\x00b\nc")
        'a�b�c'
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)


def _sources(cases: Sequence[Case]) -> Iterator[IntensitySource]:
    counts = Counter((xml_safe(case.site), str(case.intensity)) for case in cases)
    scales = {str(case.intensity): case.intensity for case in cases}
    for (site, name), number in sorted(counts.items()):
        yield IntensitySource(site, scales[name], number)


def _read_rows(path: Path) -> Iterator[ScoreRow]:
    return _rows(path, _table(path)[1])


def _lesions(path: Path) -> tuple[LesionRow, ...] | None:
    if not path.is_file():
        return None
    return tuple(read_lesion_rows(_xml_safe_rows(_table(path)[1]), source=str(path)))


def _rows(path: Path, cells: Sequence[dict[str, str]]) -> Iterator[ScoreRow]:
    return read_score_rows(_xml_safe_rows(cells), source=str(path))


def _xml_safe_rows(cells: Sequence[dict[str, str]]) -> Iterator[dict[str, str]]:
    return ({name: xml_safe(cell) for name, cell in row.items()} for row in cells)


def _table(path: Path) -> Table:
    missing: Table = ((), [])
    return _read(path, lambda text: read_csv(require_complete(text)), missing)


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = _read(path, json.loads, {})
    if not isinstance(content, dict):
        raise InputError(f"{path} must contain a mapping; create it again")
    return content


def _read(path: Path, parse: Callable[[str], T], missing: T) -> T:
    if not path.is_file():
        return missing
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read: {reason}; create it again") from None


def _by_region(path: Path) -> dict[str, tuple[MetricValues, ...]]:
    bins: dict[str, list[MetricValues]] = {}
    for row in _read_rows(path):
        bins.setdefault(row.region, []).append(row.metrics)
    return {region: tuple(curve) for region, curve in bins.items()}


def _pictures(folder: Path) -> dict[str, bytes]:
    return {xml_safe(path.stem): _picture(path) for path in sorted(folder.glob("*.png"))}


def _picture(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.endswith(PNG_END):
        raise InputError(f"{path} is truncated; create it again with `dvc repro -sf evaluate`")
    return content


def _digests(lock: Path, dataset: str) -> dict[str, str]:
    """Return the digests of the dataset's files that the stage `prepare` depends on."""
    content: dict[str, Any] = _read(lock, yaml.safe_load, {}) or {}
    depends = content.get("stages", {}).get("prepare", {}).get("deps", ())
    return {
        item["path"]: f"{item['hash']} {item[item['hash']]}"
        for item in depends
        if item["path"].startswith(f"data/{dataset}/") and item.get("hash") in item
    }
