"""Fixtures for the tests of image formats: DICOM series, written by pydicom."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import ArrayLike
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

SaveSeries = Callable[..., Path]
PATIENT = "DOE^JOHN"
SECRETS = ("DOE", "JOHN", "4711-X", "19700102", "20240304")
"""Texts that no note, message or mask may contain."""


def one_slice(stored: np.ndarray, position_mm: Sequence[float], **tags: Any) -> pydicom.Dataset:
    """Return a CT slice of stored values, shape ``(rows, columns)``."""
    slice_ = pydicom.Dataset()
    slice_.file_meta = FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_.SOPClassUID = slice_.file_meta.MediaStorageSOPClassUID = CTImageStorage
    slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    slice_.PatientName, slice_.PatientID = PATIENT, "4711-X"
    slice_.PatientBirthDate, slice_.StudyDate, slice_.PatientSex = "19700102", "20240304", "M"
    slice_.StudyTime, slice_.StudyID, slice_.AccessionNumber = "101010", "1", "4711-X"
    slice_.ReferringPhysicianName = PATIENT
    slice_.StudyInstanceUID, slice_.FrameOfReferenceUID = "1.2.3", "1.2.4"
    slice_.Modality, slice_.SeriesInstanceUID, slice_.SeriesNumber = "CT", "1.2.3.4", 4
    slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    slice_.ImagePositionPatient = [float(value) for value in position_mm]
    slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    slice_.PixelSpacing = [0.8, 0.7]
    slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1024
    slice_.Rows, slice_.Columns = stored.shape
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 12, 11
    slice_.PixelRepresentation = 0
    slice_.PixelData = stored.astype("<u2").tobytes()
    for tag, value in tags.items():
        if value is None:
            del slice_[tag]
        else:
            setattr(slice_, tag, value)
    return slice_


def enhanced(folder: Path, path: Path, order: list[int], *, positions: bool = True) -> None:
    """Write slices of a folder as one multi-frame file, in some order."""
    slices = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda s: s.ImagePositionPatient[2])
    ct = slices[0].copy()
    ct.NumberOfFrames = len(order)
    ct.PixelData = b"".join(slices[index].PixelData for index in order)
    ct.SOPInstanceUID = generate_uid()
    if positions:
        ct.SOPClassUID = ct.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        frames = []
        for index in order:
            frame, position = pydicom.Dataset(), pydicom.Dataset()
            position.ImagePositionPatient = slices[index].ImagePositionPatient
            frame.PlanePositionSequence = pydicom.Sequence([position])
            frames.append(frame)
        shared, plane, measures, values = (pydicom.Dataset() for _ in range(4))
        plane.ImageOrientationPatient = ct.ImageOrientationPatient
        measures.PixelSpacing, measures.SliceThickness = ct.PixelSpacing, 2.5
        values.RescaleSlope, values.RescaleIntercept = 1, -1024
        shared.PlaneOrientationSequence = pydicom.Sequence([plane])
        shared.PixelMeasuresSequence = pydicom.Sequence([measures])
        shared.PixelValueTransformationSequence = pydicom.Sequence([values])
        ct.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
        ct.PerFrameFunctionalGroupsSequence = pydicom.Sequence(frames)
        for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            del ct[tag]
        del ct.RescaleSlope, ct.RescaleIntercept
    path.parent.mkdir(exist_ok=True)
    ct.save_as(path)


@pytest.fixture
def save_series(tmp_path: Path) -> SaveSeries:
    """Return a function that writes canonical HU as an axial series, and returns its folder.

    Slices are 2.5 mm apart, the first at ``(1.4, 1.6, 30)`` LPS. ``tags`` are set in every slice;
    ``change(index, slice)`` may change a slice, or return False to omit it.
    """

    def save(
        name: str,
        canonical: ArrayLike,
        *,
        heights_mm: Sequence[float] | None = None,
        change: Callable[[int, pydicom.Dataset], object] = lambda index, slice_: None,
        **tags: Any,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        stored = np.asarray(canonical)[::-1, ::-1] + 1024
        heights = heights_mm or [30 + 2.5 * index for index in range(stored.shape[2])]
        for index, height in enumerate(heights):
            slice_ = one_slice(stored[:, :, index].T, (1.4, 1.6, height), **tags)
            if change(index, slice_) is not False:
                # The order of the file names differs from that of the positions.
                number = index * 7 % (11 if len(heights) <= 11 else 101)
                file = folder / f"{tags.get('SeriesNumber', 4)}-{number:03}.dcm"
                slice_.save_as(file, enforce_file_format=True)
        return folder

    return save


@pytest.fixture
def names_nobody() -> Callable[[object], None]:
    """Return a function that fails if its argument discloses the patient."""

    def check(content: object) -> None:
        text = content.decode("latin-1") if isinstance(content, bytes) else str(content)
        assert not [secret for secret in SECRETS if secret in text]

    return check


@pytest.fixture
def zip_folder(tmp_path: Path) -> Callable[[Path], Path]:
    """Return a function that zips a folder and returns the path of the zip."""
    return lambda folder: Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))
