"""The COVID-19 CT Lung and Infection Segmentation Dataset in a project; downloaded if missing."""

from collections.abc import Callable

from thorax.common.project import git
from thorax.datasets.dataset import PARTS, Dataset, load_dataset
from thorax.datasets.download import download_dataset
from thorax.experiments.benchmark.protocols import DATASET
from thorax.experiments.project import Project


def provide_dataset(project: Project, *, report: Callable[[str], None]) -> Dataset:
    """Return the dataset; download it first if its scans or masks are missing.

    Runs work with the files that git tracks, so the small files of a download are added to the
    index; they are not committed.

    Raises:
        InputError: As `download_dataset` and `load_dataset`.
    """
    folder = project.root / "data" / DATASET
    if not all((folder / part).is_dir() for part in PARTS):
        report(f"downloading {DATASET} to {folder.relative_to(project.root)}, 1.1 GB")
        download_dataset(DATASET, project.root)
        git(project.root, "add", "--", str(folder))
        report(f"its .dvc files are in the index of git; commit them to keep data/{DATASET}")
    return load_dataset(folder)
