"""Write masks of real scans as DICOM segmentations and structure sets, and read them back.

    python tests/benchmarks/segmentation_objects.py FOLDER

FOLDER has scans/ and masks/ with NIfTI files of the same names. Each scan is made into a DICOM
series in a temporary folder. Prints the Dice of each mask with what is read back by the project and
by other programs: highdicom for segmentations; rt-utils for structure sets, also for one that it
wrote itself. rt-utils is left out if it is not installed, and so is dciodvfy.
"""

import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import highdicom
import numpy as np
from measuring import say
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from thorax.imaging.overlap import overlap
from thorax.io import Scan, write_dicom_masks
from thorax.io.dicom_objects.read_masks import open_rois, read_regions

Mask = NDArray[np.bool_]
"""Shape ``(slices, rows, columns)``."""


def save_series(folder: Path, scan: Scan) -> None:
    """Write a scan as an axial DICOM series, rows to the left and columns to the back."""
    folder.mkdir()
    x_mm, y_mm, z_mm = scan.spacing_mm
    hu = scan.voxels()[::-1, ::-1]
    uids = {tag: generate_uid() for tag in ("Study", "Series", "FrameOfReference")}
    for index in range(hu.shape[2]):
        slice_ = Dataset()
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.SOPClassUID = slice_.file_meta.MediaStorageSOPClassUID = CTImageStorage
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for name, uid in uids.items():
            setattr(slice_, f"{name}{'' if name == 'FrameOfReference' else 'Instance'}UID", uid)
        slice_.PatientName, slice_.PatientID, slice_.PatientBirthDate = "A^B", "1", ""
        slice_.PatientSex, slice_.StudyDate, slice_.StudyTime = "O", "20200101", "120000"
        slice_.StudyID, slice_.AccessionNumber, slice_.ReferringPhysicianName = "1", "", ""
        slice_.Modality, slice_.SeriesNumber, slice_.InstanceNumber = "CT", 2, index + 1
        slice_.ImageType, slice_.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], ""
        slice_.PositionReferenceIndicator = ""
        slice_.ImagePositionPatient = [-200.0, -200.0, round(index * z_mm, 4)]
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.PixelSpacing, slice_.SliceThickness = [round(y_mm, 6), round(x_mm, 6)], z_mm
        slice_.RescaleSlope, slice_.RescaleIntercept = 1, 0
        slice_.Columns, slice_.Rows = hu.shape[:2]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
        slice_.PixelRepresentation = 1
        slice_.PixelData = hu[:, :, index].T.astype("<i2").tobytes()
        slice_.save_as(folder / f"{index:04}.dcm", enforce_file_format=True)


def timed(call: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, str]:
    """Return the result of a call, and its time."""
    start = time.perf_counter()
    result = call(*arguments, **options)
    return result, f"{time.perf_counter() - start:.1f} s"


def read_own(path: Path, scan: Scan, name: str = "lung") -> Mask:
    """Read a mask by the project."""
    labels = read_regions(open_rois(path), {"lung": [name]}, scan)
    return to_slices(np.moveaxis(labels.voxels(), 2, 0) > 0)


def to_slices(planes: NDArray[Any]) -> NDArray[Any]:
    """Turn canonical planes to slices of rows and columns, and back."""
    return planes.swapaxes(1, 2)[:, ::-1, ::-1]


def read_by_highdicom(path: Path, scan: Scan) -> Mask:
    """Read a segmentation by the references to its slices."""
    segmentation = highdicom.seg.segread(path)
    files = [slice_.file.path for slice_ in scan.image.slices]
    uids = [dcmread(file, specific_tags=["SOPInstanceUID"]).SOPInstanceUID for file in files]
    frames = segmentation.get_pixels_by_source_instance(
        uids, assert_missing_frames_are_empty=True, segment_numbers=[1]
    )
    return frames[..., 0] > 0


def read_by_rt_utils(path: Path, series: Path) -> Mask:
    """Read a structure set by rt-utils."""
    from rt_utils import RTStructBuilder

    structure_set = RTStructBuilder.create_from(str(series), str(path))
    return np.moveaxis(structure_set.get_roi_mask_by_name("lung"), 2, 0)


def write_by_rt_utils(path: Path, series: Path, mask: Mask) -> None:
    """Write a structure set by rt-utils."""
    from rt_utils import RTStructBuilder

    structure_set = RTStructBuilder.create_new(dicom_series_path=str(series))
    structure_set.add_roi(mask=np.moveaxis(mask, 0, 2), name="lung")
    with redirect_stdout(None):
        structure_set.save(str(path))


def validate(path: Path) -> str:
    """Return the remarks of dciodvfy."""
    program = shutil.which("dciodvfy")
    if not program:
        return "dciodvfy is not installed"
    result = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    lines = (result.stdout + result.stderr).strip().splitlines()
    return f"dciodvfy: {len(lines) - 1} remarks" + "".join(f"\n    {line}" for line in lines[1:4])


def measure(case: str, scan_path: Path, mask_path: Path, folder: Path) -> None:
    """Print the results of one case."""
    series = folder / "series"
    save_series(series, Scan(scan_path))
    scan = Scan(series)
    planes = np.moveaxis(Scan(mask_path).voxels(), 2, 0) > 0
    mask = to_slices(planes)
    say(f"{case}: {'×'.join(map(str, mask.shape))}, {mask.sum()} voxels")

    def report(name: str, read: Mask, seconds: str) -> None:
        say(f"  {name}: Dice {overlap(mask, read).dice:.6f}, {seconds}")

    for name in ("mask.dcm", "all.dcm", "mask.rtss.dcm"):
        path = folder / name
        _, seconds = timed(
            write_dicom_masks, path, scan, planes[None], ["lung"], all_frames=name == "all.dcm"
        )
        say(f"  {name}: {path.stat().st_size / 1e6:.1f} MB in {seconds}; {validate(path)}")
        report("read by thorax", *timed(read_own, path, scan))
        if not name.endswith(".rtss.dcm"):
            report("read by highdicom", *timed(read_by_highdicom, path, scan))
        elif find_spec("rt_utils"):
            report("read by rt-utils", *timed(read_by_rt_utils, path, series))
    if find_spec("rt_utils"):
        path = folder / "rt-utils.dcm"
        _, seconds = timed(write_by_rt_utils, path, series, mask)
        report(f"written by rt-utils in {seconds}, read by thorax", *timed(read_own, path, scan))
        report("written and read by rt-utils", *timed(read_by_rt_utils, path, series))


def main() -> None:
    """Print the results of all cases."""
    source = Path(sys.argv[1])
    warnings.simplefilter("ignore")
    for path in sorted((source / "scans").glob("*.nii.gz")):
        with TemporaryDirectory() as folder:
            measure(path.name.split(".")[0], path, source / "masks" / path.name, Path(folder))


if __name__ == "__main__":
    main()
