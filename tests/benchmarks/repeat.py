"""Run the whole pipeline twice from clean copies, and compare the bytes of all that it makes.

The second copy lies in another folder, with a longer name of other letters, in another time zone
and in another language. Nothing but the time that the training took may differ.

Example:
    python tests/benchmarks/repeat.py --small
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.pipeline.project import SMALL, copy_of_the_working_tree

OUTPUTS = {
    "volumes": ("data/phantom/scans/*", "data/phantom/masks/*"),
    "records": ("data/records/*",),
    "weights": ("models/segmenter/*",),
    "model file": ("models/segmenter.onnx",),
    "masks and probabilities": ("data/predictions/*.*", "data/predictions/*/*"),
    "history": ("reports/history.csv",),
    "scores": ("reports/scores.csv", "reports/sides.csv", "reports/calibration.csv"),
    "metrics": ("reports/metrics.json", "reports/summary.json"),
    "overlays": ("reports/overlays/*",),
}
"""All but what tells of the time of the training: `training.json` and the report."""


def main() -> None:
    """Print a digest of each kind of output for both runs; exit with 1 if any two differ."""
    options = read_options()
    with TemporaryDirectory() as temporary:
        runs = [
            made(Path(temporary) / "one", options.small, TZ="UTC", LANG="C"),
            made(Path(temporary) / "Größe 2/two", options.small, TZ="Asia/Tokyo", LANG="de_DE"),
        ]
    print(f"{'':<24} {'files':>5}  {'first run':<16}  {'second run':<16}")  # noqa: T201
    for name in OUTPUTS:
        (count, first), (_, second) = (run[name] for run in runs)
        same = "the same" if first == second else "DIFFERENT"
        print(f"{name:<24} {count:>5}  {first:<16}  {second:<16}  {same}")  # noqa: T201
    sys.exit(runs[0] != runs[1])


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a tiny network on few planes")
    return parser.parse_args()


def made(folder: Path, small: bool, **surroundings: str) -> dict[str, tuple[int, str]]:
    """Run the pipeline in a fresh folder, and return how many files it made and their digests."""
    os.environ.update(surroundings)
    project = copy_of_the_working_tree(folder)
    if small:
        project.set(SMALL)
    project.commit("Start")
    tell(f"{datetime.now(UTC):%H:%M:%S} dvc repro in {folder}")
    project.dvc("repro")
    tell(f"{datetime.now(UTC):%H:%M:%S} done")
    return {name: digest(project.root, patterns) for name, patterns in OUTPUTS.items()}


def digest(root: Path, patterns: tuple[str, ...]) -> tuple[int, str]:
    """How many files there are, and one digest of their names and bytes."""
    whole = hashlib.sha256()
    files = list(found(root, patterns))
    for path in files:
        whole.update(path.relative_to(root).as_posix().encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return len(files), whole.hexdigest()[:16]


def found(root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    """The files of a kind; there must be some."""
    for pattern in patterns:
        paths = sorted(path for path in root.glob(pattern) if path.is_file())
        if not paths:
            sys.exit(f"{root / pattern} finds nothing")
        yield from paths


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
