"""Stage `phantom`: write the synthetic chests of `data/phantom`."""

import shutil
from functools import partial
from pathlib import Path

from thorax.common.parallel import in_processes
from thorax.common.params import load_params
from thorax.io import write_volume
from thorax.phantom import PLAIN, Variety, chest
from thorax.pipeline import run
from thorax.pipeline.paths import DATA

FOLDER = DATA / "phantom"


def write_chest(number: int, *, seed: int, folder: Path, variety: Variety = PLAIN) -> None:
    """Write the scan and the mask of one synthetic chest."""
    synthetic = chest(number, seed=seed, variety=variety)
    affine = synthetic.scan.grid.affine
    write_volume(folder / "scans" / f"{synthetic.name}.nii.gz", synthetic.scan.voxels, affine)
    write_volume(folder / "masks" / f"{synthetic.name}.nii.gz", synthetic.mask.voxels, affine)


def main() -> None:
    """Write all cases, in parallel processes, after deleting old ones."""
    params = load_params()
    for kind in ("scans", "masks"):
        shutil.rmtree(FOLDER / kind, ignore_errors=True)
    write = partial(write_chest, seed=params.seed, folder=FOLDER)
    calls = [partial(write, number) for number in range(params.phantom.cases)]
    in_processes(calls, title="phantom")


if __name__ == "__main__":
    run(main)
