"""Check of the split by the file names of a dataset, before any scan is opened."""

from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.params import Params
from thorax.datasets.dataset import PARTS, SPEC, files_in, load_spec
from thorax.datasets.folds import Member, split_cases
from thorax.io import case_name


def check_split(folder: Path, params: Params) -> None:
    """Check that the split of a dataset exists: enough patients, and only cases that exist.

    Problems of the dataset itself are left to the audit.

    Args:
        folder: Contains `dataset.yaml`, `scans/` and `masks/`.
        params: The parameters `split` and `seed` are used.

    Raises:
        InputError: As `split_cases`.
    """
    if members := members_in(folder):
        split_cases(members, params.split, seed=params.seed)


def members_in(folder: Path) -> tuple[Member, ...]:
    """List the cases of a dataset, without disease loads; empty if there is no valid dataset."""
    try:
        spec = load_spec(folder / SPEC)
        # A case whose scan or mask is missing counts; the audit names it.
        paths = [path for part in PARTS for path in files_in(folder / part)]
        names = sorted({name for path in paths if (name := case_name(path))})
        return tuple(Member(name, spec.patient_of(name), spec.site_of(name)) for name in names)
    except InputError:
        return ()
