"""A SLURM cluster on this machine, and folders of small scans."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from thorax.io import write_volume
from thorax.phantom import chest

from .batches import results, thorax
from .slurm import Slurm, SlurmError, missing_programs, running_slurm

SCANS = 8
DAMAGED = "03"


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Return a cluster of two nodes with two CPUs each.

    With `THORAX_SLURM=optional`, tests are skipped where it is installed but cannot be started:
    some containers forbid what its daemons need.
    """
    if missing := missing_programs():
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: slurm-wlm and munge)")
    with ExitStack() as running:
        try:
            cluster = running.enter_context(running_slurm(nodes=2, cpus=2))
        except SlurmError as error:
            if os.environ.get("THORAX_SLURM") != "optional":
                raise
            pytest.skip(str(error))
        yield cluster


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a synthetic chest, cut to different heights, and one damaged scan."""
    folder = tmp_path_factory.mktemp("batch") / "scans"
    folder.mkdir()
    scan = chest(0, seed=0).scan
    hu = scan.voxels.astype(np.int16)
    for number in range(SCANS):
        write_volume(folder / f"{number:02d}.nii.gz", hu[..., number:], scan.grid.affine)
    os.truncate(folder / f"{DAMAGED}.nii.gz", 50_000)
    return folder


@pytest.fixture(scope="session")
def expected(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the masks and the manifest of one process."""
    masks = tmp_path_factory.mktemp("one") / "masks"
    answer = thorax("predict", scans, masks)
    assert f"{SCANS - 1} done, 1 failed" in answer.stderr
    assert len(list(masks.glob("*.nii.gz"))) == SCANS - 1
    return results(masks)
