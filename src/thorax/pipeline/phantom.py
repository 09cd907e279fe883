"""Make the synthetic chests of `data/phantom`."""

import shutil
from functools import partial
from pathlib import Path

from tqdm import tqdm

from thorax.common.parallel import worker_pool
from thorax.common.params import load_params
from thorax.io import write_volume
from thorax.phantom import chest
from thorax.pipeline import run
from thorax.pipeline.paths import DATA

FOLDER = DATA / "phantom"


def make(number: int, *, seed: int, folder: Path) -> None:
    """Write scan and mask of one synthetic chest."""
    made = chest(number, seed=seed)
    affine = made.scan.grid.affine
    write_volume(folder / "scans" / f"{made.name}.nii.gz", made.scan.voxels, affine)
    write_volume(folder / "masks" / f"{made.name}.nii.gz", made.mask.voxels, affine)


def main() -> None:
    """Make all cases, in parallel."""
    params = load_params()
    for kind in ("scans", "masks"):
        shutil.rmtree(FOLDER / kind, ignore_errors=True)
    work = partial(make, seed=params.seed, folder=FOLDER)
    with worker_pool() as pool:
        done = pool.map(work, range(params.phantom.cases))
        for _ in tqdm(done, total=params.phantom.cases, desc="phantom", unit="case"):
            pass


if __name__ == "__main__":
    run(main)
