"""Write NRRD and MetaImage files by SimpleITK."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from thorax.io.stored_image import LPS_TO_RAS, ImageFile


def write_image(path: Path, voxels: NDArray[Any], source: ImageFile) -> None:
    """Write voxels on the grid of another volume, compressed.

    Args:
        path: Ends in ``.nrrd`` or ``.mha``.
        voxels: Voxels in the axis order of ``source``.
        source: The volume whose grid is used.

    Raises:
        OSError: The disk is full or broken.
    """
    lps = LPS_TO_RAS @ source.affine
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection((lps[:3, :3] / spacing_mm).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError:
        # The message of ITK names its source files, but not always the reason.
        full = shutil.disk_usage(path.parent).free < voxels.nbytes
        reason = errno.ENOSPC if full else errno.EIO
        raise OSError(reason, os.strerror(reason), str(path)) from None
