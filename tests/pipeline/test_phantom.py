"""The stage `phantom` writes the requested number of chests, determined by the seed."""

from collections.abc import Callable
from pathlib import Path

import nibabel

from thorax.pipeline.phantom import main, write_chest

Fails = Callable[[Callable[[], None]], str]


def test_the_requested_chests_are_written_and_old_files_deleted(
    project: Path, set_params: Callable[..., None]
) -> None:
    set_params(phantom={"cases": 1})
    old = project / "data/phantom/scans/phantom_001.nii.gz"
    old.parent.mkdir(parents=True)
    old.touch()
    main()
    (scan,) = (project / "data/phantom/scans").iterdir()
    (mask,) = (project / "data/phantom/masks").iterdir()
    assert scan.name == mask.name == "phantom_000.nii.gz"
    assert nibabel.load(scan).shape == nibabel.load(mask).shape
    write_chest(0, seed=0, folder=project / "again")
    assert (project / "again/scans/phantom_000.nii.gz").read_bytes() == scan.read_bytes()


def test_chests_that_cannot_be_written_are_reported(
    project: Path, set_params: Callable[..., None], fails: Fails
) -> None:
    set_params(phantom={"cases": 1})
    (project / "data/phantom").write_text("I am no folder")
    assert fails(main).startswith("cannot write data/phantom/scans/phantom_000.nii.gz")
