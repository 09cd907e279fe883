"""Stage `phantom`: write the synthetic chests of `data/phantom`."""

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


def write_chest(number: int, *, seed: int, folder: Path) -> None:
    """Write the scan and the mask of one synthetic chest."""
    synthetic = chest(number, seed=seed)
    affine = synthetic.scan.grid.affine
    write_volume(folder / "scans" / f"{synthetic.name}.nii.gz", synthetic.scan.voxels, affine)
    write_volume(folder / "masks" / f"{synthetic.name}.nii.gz", synthetic.mask.voxels, affine)


def main() -> None:
    """Write all cases, in parallel processes, after deleting old ones."""
    params = load_params()
    for kind in ("scans", "masks"):
        shutil.rmtree(FOLDER / kind, ignore_errors=True)
    write = partial(write_chest, seed=params.seed, folder=FOLDER)
    with worker_pool() as pool:
        done = pool.map(write, range(params.phantom.cases))
        for _ in tqdm(done, total=params.phantom.cases, desc="phantom", unit="case"):
            pass


if __name__ == "__main__":
    run(main)
