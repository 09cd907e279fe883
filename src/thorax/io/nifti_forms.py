"""Compare the two statements of a NIfTI header about directions and spacing of the voxels.

The sform is a matrix; the qform is a rotation, spacings and an offset, and cannot state a shear.
Both may be given, with a code above 0; nibabel uses the sform. A different offset is common after
registration, and changes neither left and right nor volumes.
"""

from itertools import product

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

MOST_OF_SPACING = 0.1
"""Distance of corner voxels, as a share of the smallest spacing, from which sform and qform differ.

As for a mask and its scan.
"""

ROUNDING = 1e-3
"""Share of the diagonal that rounding of the qform may move a corner.

One component of its rotation is the root of what the three others leave of 1. In single precision,
and near half turns, which are the rotations of most scans, this is exact to 5e-4 only.
"""


def forms_warning(header: nibabel.Nifti1Header) -> tuple[str, ...]:
    """Warn if sform and qform of a header contradict each other; empty if they do not."""
    if not (header["sform_code"] > 0 and header["qform_code"] > 0):
        return ()
    sform = header.get_sform()[:3, :3]
    extent = np.array((*header.get_data_shape(), 1, 1, 1)[:3]) - 1
    spacing = np.linalg.norm(sform, axis=0)
    tolerance = MOST_OF_SPACING * spacing.min() + ROUNDING * np.linalg.norm(spacing * extent)
    distance = _corner_distance(header, extent)
    if distance <= tolerance:
        return ()
    distant = f"corner voxels differ by {distance:.3g} mm" if np.isfinite(distance) else "damaged"
    return (
        f"sform and qform of the header contradict each other ({distant}); the sform was used: "
        "check left and right, and the volumes",
    )


def _corner_distance(header: nibabel.Nifti1Header, extent: NDArray[np.int64]) -> float:
    """Largest distance of a corner voxel between both forms if the first voxel is at one place."""
    try:
        # The closest that a qform can state, without shear.
        expected = nibabel.Nifti1Header()
        with np.errstate(all="ignore"):
            expected.set_qform(header.get_sform(), 1)
            difference = (expected.get_qform() - header.get_qform())[:3, :3]
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        return float(np.inf)
    corners = np.array(list(product(*((0, size) for size in extent)))).T
    return float(np.linalg.norm(difference @ corners, axis=0).max())
