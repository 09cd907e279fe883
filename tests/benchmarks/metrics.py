"""Set surface distances and lesion counts beside those of other packages; measure time and memory.

The other packages are no dependencies of this project: name an interpreter that has them (torch,
monai, medpy, SimpleITK, surface-distance). What each makes of some shapes is printed first, empty
masks among them. Then come the masks that were named: a prediction is made of each by eroding or
shifting it, and each package measures it in a process of its own. Memory is what a process took
at its peak beyond what it held with the masks read; of several rounds the fastest counts. Beside
the seconds stand those of all cores together, which a busy machine changes less.

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

from thorax.evaluation.lesions import count_lesions
from thorax.evaluation.surface_distance import surface_distances
from thorax.io import Scan

HERE = Path(__file__).parent
SURFACE = ("nsd", "hd95_mm", "mean_distance_mm")
LESIONS = ("lesions", "lesions_predicted", "lesions_found", "lesions_true")
OTHERS = ("surface-distance", "monai", "monai-areas", "medpy")
Figures = dict[str, float]


@dataclass(frozen=True)
class Pair:
    """A truth and a prediction.

    Args:
        truth: Binary mask with three axes.
        predicted: Another of the same shape.
        spacing_mm: Distance between voxel centres along each axis.
    """

    truth: np.ndarray
    predicted: np.ndarray
    spacing_mm: tuple[float, ...] = (1.0, 1.0, 1.0)

    def save(self, path: Path) -> None:
        """Write it for another process."""
        np.savez(path, truth=self.truth, predicted=self.predicted, spacing_mm=self.spacing_mm)


def block(*slices: tuple[int, int], shape: tuple[int, ...] = (24, 24, 24)) -> np.ndarray:
    """A block of voxels, by the first and the one behind the last along each axis."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*each) for each in slices)] = True
    return mask


def ball(radius: float, middle: tuple[float, ...] = (12, 12, 12)) -> np.ndarray:
    """A ball of voxels."""
    at = np.indices((24, 24, 24)) - np.reshape(middle, (3, 1, 1, 1))
    return np.linalg.norm(at, axis=0) <= radius


def pairs() -> dict[str, Pair]:
    """What the packages are asked about."""
    nothing, one = block((0, 0), (0, 0), (0, 0)), block((5, 6), (5, 6), (5, 6))
    thick, (noise, other_noise) = (
        (0.7, 0.7, 5.0),
        np.random.default_rng(0).random((2, 9, 9, 9)) < 0.4,
    )
    two = ball(3, (6, 12, 12)) | ball(3, (18, 12, 12))
    return {
        "both empty": Pair(nothing, nothing),
        "truth empty": Pair(nothing, ball(5)),
        "prediction empty": Pair(ball(5), nothing),
        "one voxel, the same": Pair(one, one),
        "one voxel, the next one": Pair(one, np.roll(one, 1, 0)),
        "one voxel, next slice of 5 mm": Pair(one, np.roll(one, 1, 2), thick),
        "all of the field of view": Pair(np.ones((6, 6, 6), bool), np.ones((6, 6, 6), bool)),
        "at the border, a plane less": Pair(
            block((0, 8), (0, 24), (0, 24)), block((0, 7), (0, 24), (0, 24))
        ),
        "ball, shifted by 2": Pair(ball(8), np.roll(ball(8), 2, 0)),
        "ball, shifted by 2, 0.7×0.7×5": Pair(ball(8), np.roll(ball(8), 2, 0), thick),
        "ball, smaller by 1": Pair(ball(8), ball(7)),
        "ball, with a far voxel": Pair(ball(8), ball(8) | np.roll(one, -5, 0)),
        "plate of one voxel, the next one": Pair(
            block((3, 21), (3, 21), (10, 11)), block((3, 21), (3, 21), (11, 12))
        ),
        "plate of one voxel, 0.7×0.7×5": Pair(
            block((3, 21), (3, 21), (10, 11)), block((3, 21), (3, 21), (11, 12)), thick
        ),
        "two lesions, merged": Pair(two, two | block((6, 18), (11, 14), (11, 14))),
        "noise": Pair(noise, other_noise),
    }


def ours(pair: Pair) -> Figures:
    """The figures of this project."""
    pieces = count_lesions(pair.truth, pair.predicted, voxel_ml=1.0)
    counts = (pieces.truth, pieces.predicted, pieces.found, pieces.true)
    return surface_figures(pair) | dict(zip(LESIONS, counts, strict=True))


def surface_figures(pair: Pair) -> Figures:
    """Those of the figures that are measured."""
    found = surface_distances(pair.truth, pair.predicted, pair.spacing_mm)
    figures = (found.nsd(TOLERANCE_MM), found.hausdorff_mm(), found.mean_mm)
    return dict(zip(SURFACE, figures, strict=True))


def ask(interpreter: str, packages: tuple[str, ...], *cases: Path) -> dict[str, Any]:
    """What other packages say of cases, by the path of the case."""
    command = [interpreter, str(HERE / "other_metrics.py"), *map(str, cases)]
    done = subprocess.run(
        [*command, "--packages", *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{interpreter} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def told(answer: dict[str, Any], name: str) -> str:
    """A figure of a package for the table; `!` where it raised an error."""
    if "error" in answer:
        return "!"
    return f"{answer['figures'][name]:.4f}" if name in answer["figures"] else ""


def compare_shapes(interpreter: str) -> None:
    """Print what each package makes of the shapes, and how far ours is from surface-distance."""
    shapes = pairs()
    with tempfile.TemporaryDirectory() as name:
        paths = {shape: Path(name) / f"{number}.npz" for number, shape in enumerate(shapes)}
        for shape, path in paths.items():
            shapes[shape].save(path)
        others = ask(interpreter, (*OTHERS, "sitk"), *paths.values())
    for figure in SURFACE:
        say(f"\n{figure:34}" + "".join(f"{name:>17}" for name in ("thorax", *OTHERS)))
        for shape, pair in shapes.items():
            row = others[str(paths[shape])]
            cells = [f"{ours(pair)[figure]:.4f}", *(told(row[name], figure) for name in OTHERS)]
            say(f"{shape:34}" + "".join(f"{cell:>17}" for cell in cells))
    say(f"\n{'truth, predicted, found, true':34}{'thorax':>17}{'SimpleITK':>17}")
    for shape, pair in shapes.items():
        mine, theirs = ours(pair), others[str(paths[shape])]["sitk"]["figures"]
        cells = [" ".join(f"{each[name]:.0f}" for name in LESIONS) for each in (mine, theirs)]
        say(f"{shape:34}" + "".join(f"{cell:>17}" for cell in cells))
    apart = [
        abs(ours(pair)[figure] - others[str(paths[shape])]["surface-distance"]["figures"][figure])
        for shape, pair in shapes.items()
        for figure in SURFACE
        if pair.truth.any() and pair.predicted.any()
    ]
    say(f"\nlargest difference to surface-distance where no mask is empty: {max(apart):.1e}")


def variants(path: Path) -> dict[str, Pair]:
    """A mask beside what a prediction of it might be."""
    scan = Scan(path)
    truth = np.concatenate([planes for _, planes in scan.slabs()]) != 0
    spacing = scan.grid.spacing_mm[2], *scan.grid.spacing_mm[:2]
    eroded = ndimage.binary_erosion(truth, ndimage.generate_binary_structure(3, 1))
    return {
        "eroded by 1": Pair(truth, eroded, spacing),
        "shifted by 3": Pair(truth, np.roll(truth, 3, 1), spacing),
    }


def measure_here(path: Path) -> None:
    """Measure our own figures for one case, and print them as the other interpreter would."""
    with np.load(path) as stored:
        pair = Pair(stored["truth"], stored["predicted"], tuple(stored["spacing_mm"].tolist()))
    small = np.pad(np.ones((2, 2, 2), bool), 1)
    ours(Pair(small, small))
    say(json.dumps(measured(lambda: surface_figures(pair))))


def ask_here(path: Path) -> dict[str, Any]:
    """Our own figures for one case, from a process of its own."""
    command = [sys.executable, __file__, "--measure", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(pair: Pair, interpreter: str, rounds: int) -> dict[str, dict[str, Any]]:
    """What the packages say of a pair in the fastest of their rounds, by their name."""
    found: dict[str, list[dict[str, Any]]] = {"thorax": [], "monai": [], "surface-distance": []}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "case.npz"
        pair.save(path)
        for _, package in itertools.product(range(rounds), found):
            if package == "thorax":
                found[package].append(ask_here(path))
            else:
                found[package].append(ask(interpreter, (package,), path)[str(path)][package])
    return {name: min(each, key=lambda one: one["seconds"]) for name, each in found.items()}


def compare_masks(masks: list[Path], interpreter: str, rounds: int) -> None:
    """Print seconds, memory and figures for each mask and each way of predicting it."""
    columns = ("seconds", "core_seconds", "mib")
    say(f"\n{'':46}" + "".join(f"{name:>17}" for name in columns + SURFACE))
    for mask in masks:
        for kind, pair in variants(mask).items():
            for package, best in measure(pair, interpreter, rounds).items():
                figures = [best[name] for name in columns]
                figures += [best["figures"][name] for name in SURFACE]
                title = f"{mask.name}, {kind}: {package}"
                say(f"{title:46}" + "".join(f"{figure:17.4g}" for figure in figures))


def main() -> None:
    """Compare, measure, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("masks", type=Path, nargs="*", help="masks to measure with")
    parser.add_argument("--other-python", default=sys.executable, help="Python with the packages")
    parser.add_argument("--rounds", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure_here(asked.measure)
        return
    compare_shapes(asked.other_python)
    if asked.masks:
        compare_masks(asked.masks, asked.other_python, asked.rounds)


if __name__ == "__main__":
    main()
