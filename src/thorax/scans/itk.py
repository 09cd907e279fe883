"""NRRD and MetaImage files, through SimpleITK."""

import errno
import os
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from thorax.errors import InputError
from thorax.scans.stored import LPS_TO_RAS, Stored, reading


class ItkFile:
    """An NRRD or MetaImage file, held in memory whole once voxels are asked for.

    Args:
        path: Ends in ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``.

    Raises:
        InputError: The file is missing, or its header cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with reading(path, _format_name(path)):
            header = _header(path)
        if header.GetNumberOfComponents() > 1:
            raise InputError(
                f"a scan must hold one number a voxel, but {path} holds "
                f"{header.GetNumberOfComponents()}; save it in grey"
            )
        self.shape: tuple[int, ...] = header.GetSize()
        self.dtype = _numpy_type(header.GetPixelID())
        self.affine = _affine(header)
        self.notes = _notes(header)

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis."""
        return self._voxels[:, :, start:stop]

    @cached_property
    def _voxels(self) -> NDArray[Any]:
        try:
            image = SimpleITK.ReadImage(str(self._path))
        except RuntimeError:
            raise InputError(
                f"{self._path} is cut short or damaged, or the file of its voxels is missing; "
                "copy it again from its source"
            ) from None
        return SimpleITK.GetArrayFromImage(image).T


def write_image(path: Path, stored_mask: NDArray[Any], stored: Stored) -> None:
    """Write voxels on the grid of a stored volume, compressed.

    Args:
        path: Ends in ``.nrrd`` or ``.mha``.
        stored_mask: Voxels in the axis order of ``stored``.
        stored: Where they lie.

    Raises:
        OSError: The disk is full or broken.
    """
    lps = LPS_TO_RAS @ stored.affine
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(stored_mask.T))
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection((lps[:3, :3] / spacing_mm).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError:
        # ITK tells its own source files, but not always the reason.
        full = shutil.disk_usage(path.parent).free < stored_mask.nbytes
        reason = errno.ENOSPC if full else errno.EIO
        raise OSError(reason, os.strerror(reason), str(path)) from None


def _header(path: Path) -> SimpleITK.ImageFileReader:
    if not path.is_file():
        raise FileNotFoundError
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise ImageFileError from None
    return reader


def _affine(header: SimpleITK.ImageFileReader) -> NDArray[np.float64]:
    size = header.GetDimension()
    affine = np.eye(4)
    if size == 3:
        affine[:3, :3] = np.reshape(header.GetDirection(), (3, 3)) * header.GetSpacing()
        affine[:3, 3] = header.GetOrigin()
    return LPS_TO_RAS @ affine


def _numpy_type(pixel_id: int) -> np.dtype[Any]:
    return SimpleITK.GetArrayViewFromImage(SimpleITK.Image([1, 1], pixel_id)).dtype


def _notes(header: SimpleITK.ImageFileReader) -> tuple[str, ...]:
    told = {key: header.GetMetaData(key) for key in header.GetMetaDataKeys()}
    if told.get("ITK_InputFilterName") == "NrrdImageIO" and "NRRD_space" not in told:
        return (
            "the file does not say where left and front are; its axes were taken as x to the left, "
            "y to the back and z to the head",
        )
    return ()


def _format_name(path: Path) -> str:
    return "NRRD" if path.suffix in {".nrrd", ".nhdr"} else "MetaImage"
