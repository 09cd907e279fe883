"""Compare surface distances and lesion counts with other packages; measure time and memory.

The other packages are not dependencies of this project: name an interpreter that has them (torch,
monai, medpy, SimpleITK, surface-distance). First, the metrics of some shapes are printed, with
empty masks. Then each given mask is eroded or shifted as a prediction, and each package measures it
in a separate process. Memory is the growth of the peak after reading the masks; the fastest of
several rounds counts. CPU seconds are given too, because they depend less on other processes.

    python tests/benchmarks/metrics.py --other-python ../other/bin/python lung-*.nii.gz
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import say
from other_metrics import TOLERANCE_MM, measured
from scipy import ndimage

from thorax.evaluation.lesions import Lesions, list_lesions
from thorax.evaluation.surface_distance import surface_distances
from thorax.io import Scan

HERE = Path(__file__).parent
SURFACE = ("nsd", "hd95_mm", "mean_distance_mm")
LESIONS = ("lesions", "lesions_predicted", "lesions_found", "lesions_true")
OTHERS = ("surface-distance", "monai", "monai-areas", "medpy")
Metrics = dict[str, float]


@dataclass(frozen=True)
class Pair:
    """A truth and a prediction.

    Args:
        truth: Binary mask with three axes.
        predicted: Binary mask of the same shape.
        spacing_mm: Distance between voxel centres along each axis.
    """

    truth: np.ndarray
    predicted: np.ndarray
    spacing_mm: tuple[float, ...] = (1.0, 1.0, 1.0)

    def save(self, path: Path) -> None:
        """Write the masks for another process."""
        np.savez(path, truth=self.truth, predicted=self.predicted, spacing_mm=self.spacing_mm)


def block(*slices: tuple[int, int], shape: tuple[int, ...] = (24, 24, 24)) -> np.ndarray:
    """Return a block of voxels, given as start and end of a slice along each axis."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*ends) for ends in slices)] = True
    return mask


def ball(radius: float, centre: tuple[float, ...] = (12, 12, 12)) -> np.ndarray:
    """Return a ball of voxels."""
    offsets = np.indices((24, 24, 24)) - np.reshape(centre, (3, 1, 1, 1))
    return np.linalg.norm(offsets, axis=0) <= radius


def pairs() -> dict[str, Pair]:
    """Return the shapes to compare."""
    nothing, voxel = block((0, 0), (0, 0), (0, 0)), block((5, 6), (5, 6), (5, 6))
    thick, (noise, other_noise) = (
        (0.7, 0.7, 5.0),
        np.random.default_rng(0).random((2, 9, 9, 9)) < 0.4,
    )
    two = ball(3, (6, 12, 12)) | ball(3, (18, 12, 12))
    return {
        "both empty": Pair(nothing, nothing),
        "truth empty": Pair(nothing, ball(5)),
        "prediction empty": Pair(ball(5), nothing),
        "one voxel, the same": Pair(voxel, voxel),
        "one voxel, the next one": Pair(voxel, np.roll(voxel, 1, 0)),
        "one voxel, next slice of 5 mm": Pair(voxel, np.roll(voxel, 1, 2), thick),
        "all of the field of view": Pair(np.ones((6, 6, 6), bool), np.ones((6, 6, 6), bool)),
        "at the border, a plane less": Pair(
            block((0, 8), (0, 24), (0, 24)), block((0, 7), (0, 24), (0, 24))
        ),
        "ball, shifted by 2": Pair(ball(8), np.roll(ball(8), 2, 0)),
        "ball, shifted by 2, 0.7×0.7×5": Pair(ball(8), np.roll(ball(8), 2, 0), thick),
        "ball, smaller by 1": Pair(ball(8), ball(7)),
        "ball, with a far voxel": Pair(ball(8), ball(8) | np.roll(voxel, -5, 0)),
        "plate of one voxel, the next one": Pair(
            block((3, 21), (3, 21), (10, 11)), block((3, 21), (3, 21), (11, 12))
        ),
        "plate of one voxel, 0.7×0.7×5": Pair(
            block((3, 21), (3, 21), (10, 11)), block((3, 21), (3, 21), (11, 12)), thick
        ),
        "two lesions, merged": Pair(two, two | block((6, 18), (11, 14), (11, 14))),
        "noise": Pair(noise, other_noise),
    }


def ours(pair: Pair) -> Metrics:
    """Return the metrics of this project."""
    lesions = Lesions.of(list_lesions(pair.truth, pair.predicted, voxel_ml=1.0))
    counts = (lesions.truth, lesions.predicted, lesions.detected, lesions.true_positives)
    return surface_metrics(pair) | dict(zip(LESIONS, counts, strict=True))


def surface_metrics(pair: Pair) -> Metrics:
    """Return the surface metrics of this project."""
    surfaces = surface_distances(pair.truth, pair.predicted, pair.spacing_mm)
    values = (surfaces.nsd(TOLERANCE_MM), surfaces.hausdorff_mm(), surfaces.mean_mm)
    return dict(zip(SURFACE, values, strict=True))


def run_packages(interpreter: str, packages: tuple[str, ...], *cases: Path) -> dict[str, Any]:
    """Return the metrics of other packages by the path of the case."""
    command = [interpreter, str(HERE / "other_metrics.py"), *map(str, cases)]
    result = subprocess.run(
        [*command, "--packages", *packages], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SystemExit(f"{interpreter} ended with {result.returncode}:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def cell(answer: dict[str, Any], name: str) -> str:
    """Format a metric of a package for the table; `!` after an error."""
    if "error" in answer:
        return "!"
    return f"{answer['metrics'][name]:.4f}" if name in answer["metrics"] else ""


def compare_shapes(interpreter: str) -> None:
    """Print the metrics of the shapes, and the largest difference to surface-distance."""
    shapes = pairs()
    with tempfile.TemporaryDirectory() as name:
        paths = {shape: Path(name) / f"{number}.npz" for number, shape in enumerate(shapes)}
        for shape, path in paths.items():
            shapes[shape].save(path)
        others = run_packages(interpreter, (*OTHERS, "sitk"), *paths.values())
    for metric in SURFACE:
        say(f"\n{metric:34}" + "".join(f"{name:>17}" for name in ("thorax", *OTHERS)))
        for shape, pair in shapes.items():
            row = others[str(paths[shape])]
            cells = [f"{ours(pair)[metric]:.4f}", *(cell(row[name], metric) for name in OTHERS)]
            say(f"{shape:34}" + "".join(f"{cell:>17}" for cell in cells))
    say(f"\n{'truth, predicted, detected, true positives':34}{'thorax':>17}{'SimpleITK':>17}")
    for shape, pair in shapes.items():
        mine, theirs = ours(pair), others[str(paths[shape])]["sitk"]["metrics"]
        cells = [" ".join(f"{counts[name]:.0f}" for name in LESIONS) for counts in (mine, theirs)]
        say(f"{shape:34}" + "".join(f"{cell:>17}" for cell in cells))
    differences = [
        abs(ours(pair)[metric] - others[str(paths[shape])]["surface-distance"]["metrics"][metric])
        for shape, pair in shapes.items()
        for metric in SURFACE
        if pair.truth.any() and pair.predicted.any()
    ]
    say(f"\nlargest difference to surface-distance where no mask is empty: {max(differences):.1e}")


def variants(path: Path) -> dict[str, Pair]:
    """Return a mask with possible predictions of it."""
    scan = Scan(path)
    truth = np.concatenate([planes for _, planes in scan.slabs()]) != 0
    spacing = scan.grid.spacing_mm[2], *scan.grid.spacing_mm[:2]
    eroded = ndimage.binary_erosion(truth, ndimage.generate_binary_structure(3, 1))
    return {
        "eroded by 1": Pair(truth, eroded, spacing),
        "shifted by 3": Pair(truth, np.roll(truth, 3, 1), spacing),
    }


def measure_here(path: Path) -> None:
    """Measure one case with this project and print it as `other_metrics.py` does."""
    with np.load(path) as stored:
        pair = Pair(stored["truth"], stored["predicted"], tuple(stored["spacing_mm"].tolist()))
    small = np.pad(np.ones((2, 2, 2), bool), 1)
    ours(Pair(small, small))
    say(json.dumps(measured(lambda: surface_metrics(pair))))


def run_here(path: Path) -> dict[str, Any]:
    """Measure one case with this project in a separate process."""
    command = [sys.executable, __file__, "--measure", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def measure(pair: Pair, interpreter: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Return the fastest round of each package for a pair."""
    rounds_of: dict[str, list[dict[str, Any]]] = {"thorax": [], "monai": [], "surface-distance": []}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "case.npz"
        pair.save(path)
        for _, package in itertools.product(range(rounds), rounds_of):
            if package == "thorax":
                rounds_of[package].append(run_here(path))
            else:
                rounds_of[package].append(
                    run_packages(interpreter, (package,), path)[str(path)][package]
                )
    return {
        name: min(results, key=lambda result: result["seconds"])
        for name, results in rounds_of.items()
    }


def compare_masks(masks: list[Path], interpreter: str, rounds: int) -> None:
    """Print time, memory and metrics for each mask and each prediction of it."""
    columns = ("seconds", "core_seconds", "mib")
    say(f"\n{'':46}" + "".join(f"{name:>17}" for name in columns + SURFACE))
    for mask in masks:
        for kind, pair in variants(mask).items():
            for package, best in measure(pair, interpreter, rounds).items():
                values = [best[name] for name in columns]
                values += [best["metrics"][name] for name in SURFACE]
                title = f"{mask.name}, {kind}: {package}"
                say(f"{title:46}" + "".join(f"{value:17.4g}" for value in values))


def main() -> None:
    """Compare the metrics and measure the masks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("masks", type=Path, nargs="*", help="masks to measure with")
    parser.add_argument("--other-python", default=sys.executable, help="Python with the packages")
    parser.add_argument("--rounds", type=int, default=3, help="the fastest round counts")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure_here(options.measure)
        return
    compare_shapes(options.other_python)
    if options.masks:
        compare_masks(options.masks, options.other_python, options.rounds)


if __name__ == "__main__":
    main()
