"""The datasets of a project, one summary each, for `thorax data list`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thorax.common.errors import InputError
from thorax.datasets.dataset import PARTS, SPEC, load_dataset, load_spec

Origin = Literal["made by a stage", "tracked", "not tracked"]


@dataclass(frozen=True)
class DatasetSummary:
    """What there is to say about one dataset.

    Args:
        name: Its folder below ``data/``.
        title: One line for people; may be empty.
        cases: How many there are; None when the files are not there yet, or do not pair up.
        regions: Names of the regions that its masks show.
        origin: How the files get there.
        problem: Why the dataset cannot be used; empty if it can.
    """

    name: str
    title: str
    cases: int | None
    regions: tuple[str, ...]
    origin: Origin
    problem: str = ""


def list_datasets(root: Path) -> list[DatasetSummary]:
    """Tell of every folder below ``data/`` that holds a `dataset.yaml`, sorted by name.

    Nothing is raised for damaged ones; their line says what is wrong.

    Args:
        root: The project: the folder that holds ``data``.
    """
    return [_line(path.parent) for path in sorted((root / "data").glob(f"[!.]*/{SPEC}"))]


def _line(folder: Path) -> DatasetSummary:
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
    apart = all((folder / f"{part}.dvc").exists() for part in PARTS)
    whole = folder.with_name(f"{folder.name}.dvc").exists()
    return "tracked" if apart or whole else "not tracked"
