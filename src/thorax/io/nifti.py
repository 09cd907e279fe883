"""Read NIfTI files slab by slab, and write NIfTI headers."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nibabel
import numpy as np
from nibabel import (
    MGHImage,
    Nifti1Image,
    Nifti1Pair,
    Nifti2Image,
    Nifti2Pair,
    Spm2AnalyzeImage,
)
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.io.file_format import FileContent, read_content
from thorax.io.nifti_forms import forms_warning
from thorax.io.raw_header import parse_raw_header
from thorax.io.stored_image import (
    ImageFile,
    check_memory,
    check_shape,
    drop_trailing_axes,
    input_errors,
    orientation_warning,
    spacing_warning,
    unit_warning,
)
from thorax.io.suffixes import PAIR_SUFFIXES, VOXEL_SUFFIXES, partner
from thorax.io.voxel_file import VoxelFile

MAX_OFFSET = 2**26
"""Bytes before the first voxel, including header extensions."""

_GZIP = b"\x1f\x8b"


class NiftiFile:
    """A NIfTI file or pair, or one of its predecessors that nibabel reads.

    Header extensions are skipped: they may have any size and content, including a DICOM header
    with the name of the patient. ISA-L decompresses gzip in half the time of zlib, and checks the
    checksum too.

    Args:
        path: The file, or either file of a pair.
        content: Its start, if it was read before.

    Raises:
        InputError: The file or its pair is missing, its header cannot be read, or the file is too
            small for the voxels that the header declares.
    """

    def __init__(self, path: Path, content: FileContent | None = None) -> None:
        self.notes: tuple[str, ...] = ()
        self._path = path
        with input_errors(path, "NIfTI"):
            content = content or read_content(path)
            files = _files(path, content)
            image = _parse(content, files)
            check_shape(path, image.shape)
            self.header = image.header
            self.shape = drop_trailing_axes(image.shape)
            self.affine: NDArray[np.float64] = image.affine
            self.dtype: np.dtype[Any] = image.get_data_dtype()
            self.warnings = _warnings(image, content)
            self._slope, self._inter = np.array(image.dataobj.slope), np.array(image.dataobj.inter)
            if min(self.shape, default=0) > 0:
                offset = int(image.dataobj.offset) or _smallest_offset(content, files)
                self._voxels = _open_voxels(path, files, image, self.shape, offset=offset)

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis."""
        if self._slope != 1.0 or self._inter != 0.0:
            # Scaled voxels become doubles.
            check_memory(self._path, 8 * self.shape[0] * self.shape[1] * (stop - start))
        return apply_read_scaling(self._voxels.block(start, stop), self._slope, self._inter)


@dataclass(frozen=True)
class _Files:
    """The files of an image: one, or a pair.

    Args:
        header: File of the header.
        voxels: File of the voxels.
        matrix: File of the affine of an Analyze image; None if there is none.
    """

    header: Path
    voxels: Path
    matrix: Path | None = None


class _NoExtensions(nibabel.nifti1.Nifti1Extensions):  # type: ignore[misc]
    @classmethod
    def from_fileobj(cls, fileobj: Any, size: int, byteswap: bool) -> "_NoExtensions":
        return cls()


def _without_extensions(image_class: type[Any]) -> type[Any]:
    """Subclass of an image class that skips header extensions."""
    header = type("Header", (image_class.header_class,), {"exts_klass": _NoExtensions})
    return type(image_class.__name__, (image_class,), {"header_class": header})


_SINGLE, _PAIR = (
    dict(zip((b"1", b"2"), map(_without_extensions, classes), strict=True))
    for classes in ((Nifti1Image, Nifti2Image), (Nifti1Pair, Nifti2Pair))
)
"""Image class by the digit of the magic bytes."""


def _magic(content: FileContent) -> bytes:
    """``n+1``, ``ni1``, ``n+2`` or ``ni2``; empty for other formats."""
    if content.format != "NIfTI":
        return b""
    return next(magic for magic in (content.head[4:7], content.head[344:347]) if magic[:1] == b"n")


def _files(path: Path, content: FileContent) -> _Files:
    """Find the other file of a pair.

    Raises:
        InputError: It is missing.
    """
    if content.damaged:
        raise EOFError
    name = path.name.lower()
    if content.format == "MGH" or (content.format == "NIfTI" and not name.endswith(PAIR_SUFFIXES)):
        if _magic(content)[1:2] != b"i":
            return _Files(path, path)
    elif content.format is None or not name.endswith(PAIR_SUFFIXES):
        if name.endswith(VOXEL_SUFFIXES) and partner(path, ".hdr") is None:
            raise InputError(
                f"the header of {path} is missing: put the .hdr file of the pair next to it"
            )
        raise ImageFileError
    is_voxels = name.endswith(VOXEL_SUFFIXES)
    header = partner(path, ".hdr") if is_voxels else path
    voxels = path if is_voxels else partner(path, ".img")
    if header and voxels:
        return _Files(header, voxels, partner(path, ".mat"))
    if _magic(content)[1:2] == b"+":
        return _Files(path, path)
    raise InputError(
        f"the voxels of {path} are missing: put the .img or .img.gz file of the pair next to it"
    )


def _parse(content: FileContent, files: _Files) -> Any:
    """Parse a header by nibabel."""
    single = files.header == files.voxels
    if content.format == "NIfTI":
        image_class = (_SINGLE if single else _PAIR)[_magic(content)[2:3]]
    else:
        image_class = MGHImage if content.format == "MGH" else Spm2AnalyzeImage
    head = FileHolder(fileobj=io.BytesIO(content.head))
    holders = {"header": head, "image": FileHolder(fileobj=io.BytesIO(content.head))}
    if content.format == "Analyze":
        return _parse_analyze(holders, files.matrix)
    try:
        return image_class.from_file_map(holders)
    except (KeyError, IndexError, OverflowError, TypeError, WrapStructError):
        raise ImageFileError from None


def _parse_analyze(holders: Mapping[str, FileHolder], matrix: Path | None) -> Any:
    """Parse an Analyze header, with the affine of a ``.mat`` file next to it."""
    holder = FileHolder(filename=str(matrix)) if matrix else FileHolder(fileobj=io.BytesIO())
    try:
        return Spm2AnalyzeImage.from_file_map({**holders, "mat": holder})
    except (ImageFileError, OSError, ValueError, nibabel.spatialimages.HeaderDataError):
        raise
    # scipy raises errors of many kinds for damaged files.
    except Exception:
        raise ImageFileError from None


def image_affine(image: Any) -> NDArray[np.float64]:
    """Affine of a nibabel image; that of its header if it was made without one.

    Raises:
        InputError: It has none.
    """
    if image.affine is not None:
        return image.affine
    if not isinstance(image.header, nibabel.AnalyzeHeader):
        raise InputError("an image must have an affine; make it with one")
    return image.header.get_best_affine()


def header_warnings(image: Any) -> tuple[str, ...]:
    """Reasons to review a nibabel image, from the header that it was read with or made with.

    Args:
        image: Any nibabel image; other formats than NIfTI and Analyze state their orientation.
    """
    header = image.header
    if not isinstance(header, nibabel.AnalyzeHeader):
        return ()
    raw = parse_raw_header(header.binaryblock)
    oriented = raw.oriented
    if not isinstance(header, nibabel.Nifti1Header):
        # A matrix next to an Analyze file states the orientation.
        oriented = not np.array_equal(image_affine(image), header.get_best_affine())
    warnings = [] if oriented else [orientation_warning(image_affine(image))]
    if raw.unit in ("m", "um"):
        warnings.append(unit_warning(raw.unit))
    if isinstance(header, nibabel.Nifti1Header):
        warnings += forms_warning(header)
    return tuple(warnings)


def _warnings(image: Any, content: FileContent) -> tuple[str, ...]:
    """Add a warning about a spacing in the file that nibabel corrects."""
    warnings = header_warnings(image)
    stated = () if content.format == "MGH" else parse_raw_header(content.head).spacing
    used = np.linalg.norm(image.affine[:3, :3], axis=0)
    if any(not step > 0 and size == 1 for step, size in zip(stated, used, strict=False)):
        return (*warnings, spacing_warning())
    return warnings


def _smallest_offset(content: FileContent, files: _Files) -> int:
    """Bytes before the first voxel if the header states 0: the header and four more bytes."""
    if content.format != "NIfTI" or files.header != files.voxels:
        return 0
    return 544 if _magic(content)[2:] == b"2" else 352


def _open_voxels(
    path: Path, files: _Files, image: Any, shape: tuple[int, ...], *, offset: int
) -> VoxelFile:
    if not 0 <= offset <= MAX_OFFSET:
        raise ImageFileError
    with files.voxels.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    return VoxelFile(
        path,
        files.voxels,
        shape=shape,
        dtype=image.dataobj.dtype,
        encoding="gzip" if packed else "raw",
        skip=offset,
    )


@dataclass(frozen=True)
class StoredAs:
    """Encoding of voxels in a file.

    Args:
        dtype: Data type of a voxel.
        scale: Value of a stored 1.
    """

    dtype: np.dtype[Any]
    scale: float


def write_header(source: ImageFile, stream: IO[bytes], encoding: StoredAs) -> None:
    """Write the header of a NIfTI file on the grid of another volume.

    Shape, affine, orientation and units are copied, and nothing else: no names, no dates.

    Args:
        source: The volume; if it is NIfTI, its sform, qform and units are copied.
        stream: Destination.
        encoding: Encoding of the voxels that follow the header.
    """
    zeros = np.broadcast_to(encoding.dtype.type(0), source.shape)
    image = nibabel.Nifti1Image(zeros, source.affine)
    header = image.header
    if isinstance(source, NiftiFile) and isinstance(source.header, nibabel.Nifti1Header):
        image.set_sform(*source.header.get_sform(coded=True))
        _copy_qform(source.header, header)
        header["xyzt_units"] = source.header["xyzt_units"]
    else:
        _set_forms(image, source.affine)
    header.set_data_offset(352)
    header["scl_slope"], header["scl_inter"] = encoding.scale, 0.0
    header.write_to(stream)


def _copy_qform(source: nibabel.Nifti1Header, header: nibabel.Nifti1Header) -> None:
    """Copy the qform; a damaged one, which was not used either, is left out."""
    spacing = header.get_zooms()
    try:
        with np.errstate(all="ignore"):
            header.set_qform(*source.get_qform(coded=True))
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        header.set_qform(None, 0)
        header.set_zooms(spacing)


def _set_forms(image: nibabel.Nifti1Image, affine: NDArray[np.float64]) -> None:
    """Set sform and qform; for a sheared grid only the sform, because the qform cannot shear."""
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    orthogonal = np.allclose(columns.T @ columns, np.eye(3), atol=1e-4)
    image.set_qform(affine if orthogonal else None, 1 if orthogonal else 0)
