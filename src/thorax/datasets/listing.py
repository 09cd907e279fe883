"""Summaries of the datasets of a project, for `thorax data list`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thorax.common.errors import InputError
from thorax.datasets.dataset import PARTS, SPEC, load_dataset, load_spec
from thorax.datasets.download import SOURCES

Origin = Literal["made by a stage", "tracked", "not tracked", "not downloaded"]


@dataclass(frozen=True)
class DatasetSummary:
    """One dataset of a project.

    Args:
        name: Its folder below ``data/``.
        title: One line for readers; may be empty.
        cases: Number of cases; None if the files are missing or do not pair up.
        regions: Names of the regions in its masks.
        origin: Origin of the files.
        problem: Reason why the dataset cannot be used; empty if it can.
    """

    name: str
    title: str
    cases: int | None
    regions: tuple[str, ...]
    origin: Origin
    problem: str = ""


def list_datasets(root: Path) -> list[DatasetSummary]:
    """Summarise every folder below ``data/`` with a `dataset.yaml`, sorted by name.

    A damaged dataset raises nothing; its summary states the problem.

    Args:
        root: The folder of the project, which contains ``data``.
    """
    return [_summary(path.parent) for path in sorted((root / "data").glob(f"[!.]*/{SPEC}"))]


def _summary(folder: Path) -> DatasetSummary:
    title, cases, problem = "", None, ""
    regions: tuple[str, ...] = ()
    try:
        spec = load_spec(folder / SPEC)
        title, regions = spec.title, tuple(spec.regions)
        spec.as_regions()
        if any((folder / part).exists() for part in PARTS):
            cases = len(load_dataset(folder).cases)
    except (InputError, OSError) as error:
        problem = " ".join(str(error).split())
    return DatasetSummary(folder.name, title, cases, regions, _origin(folder), problem)


def _origin(folder: Path) -> Origin:
    if (folder / "dvc.yaml").exists():
        return "made by a stage"
    parts_tracked = all((folder / f"{part}.dvc").exists() for part in PARTS)
    folder_tracked = folder.with_name(f"{folder.name}.dvc").exists()
    if parts_tracked or folder_tracked:
        return "tracked"
    empty = not any((folder / part).exists() for part in PARTS)
    return "not downloaded" if empty and folder.name in SOURCES else "not tracked"
