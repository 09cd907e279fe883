"""Dice of a lung model on real scans, degraded real scans and synthetic chests.

    python tests/benchmarks/lungs.py MODEL --real FOLDER [--chests 120]
    python tests/benchmarks/lungs.py MODEL --real FOLDER [--degraded CASE] [--painted CASE]

FOLDER has one folder per source, each with scans/ and masks/ of equal names, whose labels above 0
are lung. Synthetic chests have numbers that no training uses. Volumetric Dice on the grid of the
scan, no test-time augmentation. Prints one line per case, then a table by source or kind; with
``--csv`` also writes Dice, certainty, expected Dice and warnings of each case, of which
``quality_table.py`` makes a table.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import fmean

import click
import nibabel
import numpy as np
from degraded_scans import CROPS, DEGRADATIONS, Volume
from measuring import say
from numpy.typing import NDArray
from painted_scans import PAINTED

import thorax
from thorax.common.errors import InputError
from thorax.imaging.overlap import overlap
from thorax.io import Scan
from thorax.phantom import WIDE, chest

AHEAD = 4
"""Synthetic chests that are made ahead."""

FIRST_CHEST = 900_000
"""Number of the first synthetic chest; training uses lower numbers."""


@dataclass(frozen=True, eq=False)
class Example:
    """A scan with its reference.

    Args:
        name: Name of the case.
        groups: Source, degradation or kinds of the case, for the tables.
        hu: Voxels of the scan.
        lung: Reference.
        affine: From voxels to RAS+ millimetres.
    """

    name: str
    groups: tuple[str, ...]
    hu: NDArray[np.int16]
    lung: NDArray[np.bool_]
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Result of one case; without certainty if the mask is empty or the scan was refused."""

    case: str
    region: str
    kinds: str
    dice: float | None
    certainty: float | None
    continuity: float | None
    truth_ml: float
    predicted_ml: float
    expected_dice: float | None
    warnings: str


def real_examples(folder: Path) -> Iterator[Example]:
    """Read the scans of all sources."""
    for path in sorted(folder.glob("*/scans/*")):
        source = path.parent.parent
        scan, mask = Scan(path), Scan(source / "masks" / path.name)
        affine = scan.grid.affine
        yield Example(path.name, (source.name,), scan.voxels(), mask.voxels() > 0, affine)


def changed_examples(
    folder: Path, pattern: str, changes: Mapping[str, Callable[..., Volume]]
) -> Iterator[Example]:
    """Change the scans whose path below the folder matches a pattern, in each way."""
    for path in sorted(folder.glob(pattern)):
        scan, mask = Scan(path), Scan(path.parent.parent / "masks" / path.name)
        hu, labels = scan.voxels().astype(np.float32), (mask.voxels() > 0).astype(np.uint8)
        for name, change in changes.items():
            changed, reference, affine = change(hu, labels, scan.grid.affine)
            voxels = np.rint(changed).astype(np.int16)
            yield Example(f"{path.name} {name}", (name,), voxels, reference > 0, affine)


def synthetic_examples(first: int, count: int) -> Iterator[Example]:
    """Make synthetic chests that no training uses, from the given number."""
    # One process makes the next chests while this one segments.
    with ProcessPoolExecutor(1) as pool:
        numbers = range(first, first + count)
        waiting = [pool.submit(_make, number) for number in numbers[:AHEAD]]
        for number in numbers:
            if number + AHEAD in numbers:
                waiting.append(pool.submit(_make, number + AHEAD))
            yield waiting.pop(0).result()


def _make(number: int) -> Example:
    case = chest(number, seed=0, variety=WIDE)
    affine = case.scan.grid.affine
    groups = ("all chests", *(case.kinds or ("no variation",)))
    return Example(case.name, groups, case.scan.voxels, case.mask.voxels > 0, affine)


def measure(model: thorax.Predictor, example: Example) -> Result:
    """Segment and score one case; Dice is 1 if reference and mask are empty."""
    kinds = ";".join(example.groups)
    voxel_ml = abs(float(np.linalg.det(example.affine[:3, :3]))) / 1000.0
    truth_ml = round(float(example.lung.sum()) * voxel_ml, 1)
    try:
        result = model.segment(nibabel.Nifti1Image(example.hu, example.affine))
    except InputError as error:
        refused = (None, None, None, truth_ml, 0.0, None, f"refused: {error}")
        return Result(example.name, "lung", kinds, *refused)
    predicted = result.mask > 0
    dice = overlap(example.lung, predicted).dice
    scores = result._prediction.quality_by_region["lung"]
    expected = result.expected_dice.get("lung")
    return Result(
        example.name,
        "lung",
        kinds,
        1.0 if np.isnan(dice) else round(dice, 5),
        scores.certainty,
        scores.continuity,
        truth_ml,
        round(float(predicted.sum()) * voxel_ml, 1),
        expected.dice if expected else None,
        " | ".join(result.statistics.quality_warnings),
    )


def table(results: list[Result]) -> None:
    """Print number of cases, mean and lowest Dice of each group, the lowest mean first."""
    groups = defaultdict(list)
    for result in results:
        for group in result.kinds.split(";"):
            groups[group].append(result)
    say(f"{'':<36}{'cases':>6}{'mean':>8}{'lowest':>8}{'refused':>9}")
    rows = []
    for group, members in groups.items():
        dices = [result.dice for result in members if result.dice is not None]
        refused = len(members) - len(dices)
        mean, lowest = (fmean(dices), min(dices)) if dices else (float("nan"), float("nan"))
        rows.append((mean, f"{group:<36}{len(members):>6}{mean:8.4f}{lowest:8.4f}{refused:>9}"))
    for _, row in sorted(rows):
        say(row)


@click.command()
@click.argument("model")
@click.option("--real", type=click.Path(path_type=Path), help="Folder of sources.")
@click.option("--degraded", help="Pattern of the scans to degrade, such as 'lctsc/scans/S1-104*'.")
@click.option("--painted", help="Pattern of the scans to paint findings and objects into.")
@click.option("--chests", default=0, help="Number of synthetic chests.")
@click.option(
    "--first-chest",
    type=click.IntRange(min=FIRST_CHEST),
    default=FIRST_CHEST,
    help="Number of the first; the expected Dice of the packaged model is fitted to the first 120.",
)
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Table of all cases.")
@click.option(
    "--metrics", type=click.Path(path_type=Path), help="JSON of the mean Dice of the chests."
)
def main(
    model: str,
    real: Path | None,
    degraded: str | None,
    painted: str | None,
    chests: int,
    first_chest: int,
    csv_path: Path | None,
    metrics: Path | None,
) -> None:
    """Print the tables."""
    predictor = thorax.load(model)
    everything: list[Result] = []
    sources = [
        real_examples(real) if real and not (degraded or painted) else (),
        changed_examples(real, degraded, DEGRADATIONS | CROPS) if real and degraded else (),
        changed_examples(real, painted, PAINTED) if real and painted else (),
        synthetic_examples(first_chest, chests),
    ]
    for examples in sources:
        results = []
        for example in examples:
            results.append(measure(predictor, example))
            last = results[-1]
            dice = "refused" if last.dice is None else f"{last.dice:.4f}"
            say(f"{last.case:<44}{dice:>8}  {last.warnings}")
        if results:
            table(results)
        everything += results
    if metrics:
        dices = [result.dice for result in everything if result.dice is not None]
        mean = {"mean": round(fmean(dices), 5), "cases": len(dices)}
        protocol = f"{len(everything)} held-out synthetic chests, many with extreme disease"
        content = {"lung": {"dice": mean}, "protocol": protocol}
        metrics.write_text(json.dumps(content, indent=1) + "\n")
    if csv_path:
        with csv_path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([field.name for field in fields(Result)])
            writer.writerows(astuple(result) for result in everything)


if __name__ == "__main__":
    sys.exit(main())
