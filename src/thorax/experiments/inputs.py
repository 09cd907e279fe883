"""Checks before the first run: its inputs must be in the copy of the project, and its split exist.

A run works in a clone, which has the files under git as they are now, the data of their `.dvc`
files, and `models/initial`.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.params import Params
from thorax.datasets.dataset import PARTS, SPEC
from thorax.datasets.download import SOURCES
from thorax.datasets.folds import Member, split_cases
from thorax.datasets.split_check import check_split
from thorax.experiments.project import Project, Snapshot
from thorax.experiments.runs import RunPlan

_PHANTOM = "phantom"

_INITIAL = "models/initial"


def check_inputs(runs: Sequence[RunPlan], project: Project, snapshot: Snapshot) -> None:
    """Check the dataset, the other input files and the split of all runs.

    Args:
        runs: Runs that have no result yet.
        project: Their project.
        snapshot: The content that they run with.

    Raises:
        InputError: Git or DVC does not track a file that a run needs; data were changed after
            `dvc add` or are not in the cache; or a split is impossible.
    """
    params = [run.params for run in runs if run.params]
    datasets = sorted({values.dataset for values in params})
    files = set(project.files(snapshot.tree))
    for name in datasets:
        _check_dataset(name, files, project.root)
    project.check_data(datasets)
    for path in sorted({path for values in params for path in _other_inputs(values)}):
        _check_file(path, files, project.root)
    for origin in sorted({values.network.initial_weights for values in params}):
        _check_preset(origin, files, project.root)
    for values in params:
        _check_split(values, project.root)


def _check_dataset(name: str, files: set[str], root: Path) -> None:
    """Check that git tracks the files that describe a dataset."""
    folder = f"data/{name}"
    if f"{folder}.dvc" in files:
        return
    if not (root / folder / SPEC).is_file():
        raise InputError(f"a dataset must have {folder}/{SPEC}; `thorax data list` lists datasets")
    made_by_stage = (root / folder / "dvc.yaml").is_file()
    names = ["dvc.yaml"] if made_by_stage else [f"{part}.dvc" for part in PARTS]
    needed = [f"{folder}/{file}" for file in (SPEC, *names) if not _has_part(file, folder, files)]
    absent = [path for path in needed if not (root / path).is_file()]
    if absent and name in SOURCES:
        raise InputError(f"runs need the scans of {name}; run `thorax data download {name}`")
    if absent:
        targets = " ".join(path.removesuffix(".dvc") for path in absent)
        raise InputError(
            f"runs use data under DVC, but {targets} {_are(absent)} not; run `dvc add {targets}` "
            f"and `git add {folder}`"
        )
    _check_tracked(needed, folder, files)


def _has_part(file: str, folder: str, files: set[str]) -> bool:
    """Return whether git tracks the scans or the masks themselves."""
    part = f"{folder}/{file.removesuffix('.dvc')}/"
    return file.endswith(".dvc") and any(path.startswith(part) for path in files)


def _check_tracked(needed: Iterable[str], target: str, files: set[str]) -> None:
    untracked = [path for path in needed if path not in files]
    if untracked:
        raise InputError(
            f"runs use files under git, but {', '.join(untracked)} {_are(untracked)} not; run "
            f"`git add {target}`"
        )


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _other_inputs(params: Params) -> Iterable[str]:
    """Yield the paths of the training inputs that parameters name."""
    if params.augmentation.custom and params.augmentation.level != "none":
        yield params.augmentation.custom
    if params.network.initial_weights == "segmenter":
        yield f"{_INITIAL}/spec.json"


def _check_file(path: str, files: set[str], root: Path) -> None:
    # An absolute path is the same file in the copy.
    if Path(path).is_absolute() and Path(path).is_file():
        return
    if not (root / path).is_file():
        advice = "copy a trained model there" if path.startswith(_INITIAL) else "check the path"
        raise InputError(f"a run needs {path}, which does not exist; {advice}")
    normal = (root / path).resolve()
    if not normal.is_relative_to(root.resolve()):
        raise InputError(f"a run works in a copy, which lacks {path}; move it to {_INITIAL}")
    _check_tracked([normal.relative_to(root.resolve()).as_posix()], path, files)


def _check_preset(origin: str, files: set[str], root: Path) -> None:
    """Check that a copy has all files of a preset of initial weights, if it is a folder."""
    if origin in ("", "random", "segmenter") or Path(origin).is_absolute():
        return
    paths = (path for path in sorted((root / origin).rglob("*")) if path.is_file())
    for path in paths:
        name = Path(os.path.relpath(path, root)).as_posix()
        if name not in files:
            raise InputError(
                f"a run works in a copy, which lacks {name}; move {origin} to {_INITIAL}"
            )


def _check_split(params: Params, root: Path) -> None:
    folder = root / "data" / params.dataset
    if params.dataset == _PHANTOM and (folder / "dvc.yaml").is_file():
        # The stage makes as many cases as the parameters of the run state.
        names = [f"{_PHANTOM}_{number:03d}" for number in range(params.phantom.cases)]
        split_cases([Member(name, name) for name in names], params.split, seed=params.seed)
    else:
        check_split(folder, params)
