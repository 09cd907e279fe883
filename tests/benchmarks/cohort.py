"""Measure `thorax summarize` for a cohort of generated statistics; nothing is asserted.

    python tests/benchmarks/cohort.py [--scans 5000]

The folder has a manifest and one statistics file per scan, with lung and infection by side; some
scans failed. There are no scans, so that the page has no pictures.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measuring import cost_of, say

from thorax.common.files import write_text
from thorax.common.tables import to_json
from thorax.inference.manifest.files import Manifest
from thorax.inference.manifest.row import DONE, FAILED, ManifestRow
from thorax.inference.statistics import PartStatistics, RegionStatistics, ScanStatistics
from thorax.models.spec import ExpectedDice

SHAPE = (512, 512, 300)
VOXEL_ML = 0.7 * 0.7 * 1.25 / 1000
FAILED_SHARE = 0.01


def main() -> None:
    """Print one line per output."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scans", type=int, default=5000)
    scans = parser.parse_args().scans
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder / "masks", scans)
        patients = folder / "patients.csv"
        cases = (f"{name(number)};{20 + number % 70};{'fm'[number % 2]}" for number in range(scans))
        patients.write_text("\n".join(["case;age;sex", *cases, ""]), "utf-8-sig")
        summarize = [sys.executable, "-m", "thorax.cli", "summarize", str(folder / "masks")]
        options = {
            "CSV": ["--output", "cohort.csv"],
            "CSV with patients": ["--output", "cohort.csv", "--patients", "patients.csv"],
            "Parquet": ["--output", "cohort.parquet"],
            "page": ["--page", "cohort.html"],
            "page, 2 groups": ["--page", "c.html", "--patients", "patients.csv", "--group", "sex"],
        }
        for title, arguments in options.items():
            files = [str(folder / word) if "." in word else word for word in arguments]
            say(f"{scans:,} scans, {title:<18} {cost_of([*summarize, *files])}")


def name(number: int) -> str:
    """Return the name of a case."""
    return f"case-{number:05}"


def make(folder: Path, scans: int) -> None:
    """Write the manifest and the statistics files."""
    draw = np.random.default_rng(0)
    manifest = Manifest(folder)
    for number in range(scans):
        case = name(number)
        if draw.random() < FAILED_SHARE:
            row = ManifestRow(case, FAILED, f"scans/{case}.nii.gz", "", "0123", "", error="no CT")
        else:
            statistics = make_statistics(draw)
            write_text(folder / f"{case}.json", to_json(statistics.as_dict()))
            row = ManifestRow(
                case,
                DONE,
                f"scans/{case}.nii.gz",
                str(folder / f"{case}.nii.gz"),
                "0123",
                "",
                volumes_ml=statistics.volumes_ml,
                certainty={"lung": 0.97, "infection": 0.8},
                expected_dice={"lung": ExpectedDice(0.98, 0.95, 1.0)},
                quality_warnings=("lung: uncertain",) if draw.random() < 0.05 else (),
            )
        manifest.rows[case] = row
    manifest.write()


def make_statistics(draw: np.random.Generator) -> ScanStatistics:
    """Return statistics of lung and infection, whole and by side."""
    lung_ml, share = draw.normal(4500, 900), draw.beta(1, 9)
    return ScanStatistics(
        SHAPE,
        (0.7, 0.7, 1.25),
        VOXEL_ML,
        {
            region: RegionStatistics(
                make_part(draw, ml, region),
                {
                    "right": make_part(draw, 0.55 * ml, region),
                    "left": make_part(draw, 0.45 * ml, region),
                },
            )
            for region, ml in (("lung", lung_ml), ("infection", share * lung_ml))
        },
    )


def make_part(draw: np.random.Generator, volume_ml: float, region: str) -> PartStatistics:
    """Return the statistics of a region or side."""
    mean_hu = float(draw.normal(-830, 30) if region == "lung" else draw.normal(-350, 60))
    low = int(mean_hu) - 120
    return PartStatistics(
        int(volume_ml / VOXEL_ML),
        float(f"{volume_ml:.6g}"),
        mean_hu,
        float(draw.normal(120, 10)),
        {5: low, 50: int(mean_hu), 95: low + 400},
        float(draw.beta(1, 20)),
        float(draw.beta(2, 20)),
        ((100, 120, 20), (400, 380, 280)),
        ((-110.0, -90.0, -300.0), (100.0, 95.0, 25.0)),
        (),
        None if region == "lung" else float(draw.beta(1, 9)),
    )


if __name__ == "__main__":
    main()
