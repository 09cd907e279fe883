"""DICOM series without the attributes of a segmentation, as users of other tools reported them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, generate_uid

from thorax.cli import main
from thorax.inference.segmenter import Segmenter
from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from ..io.conftest import one_slice
from ..learning import pointwise

HEIGHTS_MM = (30.0, 32.5, 35.0, 37.5)

DARK = np.zeros((8, 8), dtype=bool)
DARK[2:5, 3:7] = True
"""The lung in every slice, by rows and columns: -1000 HU in tissue."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model for which everything darker than -500 HU is lung."""
    folder = tmp_path_factory.mktemp("models")
    spec = ModelSpec(8, "none", 0, (-1000, 0), {"lung": (1,)})
    save_trained(folder / "segmenter", pointwise([[-80]], [40], canvas=8), spec)
    export_model(folder / "segmenter", folder / "segmenter.onnx")
    return folder / "segmenter.onnx"


def make_slices(**tags: Any) -> list[Dataset]:
    """Return the slices of a CT; tags that are None are removed."""
    return [
        one_slice(np.where(DARK, 24, 1064 + index), (1.4, 1.6, height), **tags)
        for index, height in enumerate(HEIGHTS_MM)
    ]


def save(slices: list[Dataset], folder: Path) -> Path:
    folder.mkdir()
    for index, slice_ in enumerate(slices):
        slice_.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return folder


def predict(series: Path, mask: Path, model: Path) -> Result:
    arguments = ("predict", series, mask, "--model", model, "--no-postprocessing")
    return CliRunner().invoke(main, [*map(str, arguments)])


def planes(mask: Path) -> dict[float, NDArray[np.uint8]]:
    """Return the frames of a segmentation by their height."""
    segmentation = highdicom.seg.segread(mask)
    return {
        float(group.PlanePositionSequence[0].ImagePositionPatient[2]): frame
        for group, frame in zip(
            segmentation.PerFrameFunctionalGroupsSequence,
            np.atleast_3d(segmentation.pixel_array),
            strict=True,
        )
    }


def assert_dark(mask: Path) -> None:
    frames = planes(mask)
    assert sorted(frames) == [*HEIGHTS_MM]
    for frame in frames.values():
        np.testing.assert_array_equal(frame, DARK)


@pytest.mark.parametrize(
    "missing",
    [
        ("StudyID",),
        ("AccessionNumber",),
        ("StudyDate", "StudyTime"),
        ("ReferringPhysicianName",),
        ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    ],
    ids="-".join,
)
def test_attributes_of_type_2_are_written_empty(
    tmp_path: Path, model: Path, missing: tuple[str, ...]
) -> None:
    """highdicom#99, dcmqi#157: they may be empty, so their absence is no reason to refuse."""
    series = save(make_slices(**dict.fromkeys(missing)), tmp_path / "ct")
    result = predict(series, tmp_path / "mask.dcm", model)
    assert result.exit_code == 0, result.output
    assert_dark(tmp_path / "mask.dcm")
    header = pydicom.dcmread(tmp_path / "mask.dcm")
    assert [str(header[tag].value or "") for tag in missing] == [""] * len(missing)


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientSex": "U"},
        {"StudyDate": "2020-01-01"},
        {"StudyTime": "noon"},
        {"SOPClassUID": "1.2.826.0.1.3680043.8.498.12345"},
        {"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100"},
    ],
    ids="-".join,
)
def test_values_that_anonymisers_write_do_not_prevent_a_segmentation(
    tmp_path: Path, model: Path, tags: dict[str, Any]
) -> None:
    """highdicom#99, dcmqi#117: invalid values of type 2, and an unknown class of the slices."""
    with pydicom.config.disable_value_validation():
        series = save(make_slices(**tags), tmp_path / "ct")
    result = predict(series, tmp_path / "mask.dcm", model)
    assert result.exit_code == 0, result.output
    assert_dark(tmp_path / "mask.dcm")


@pytest.mark.parametrize("name", ["mask.dcm", "mask.rtss.dcm"])
@pytest.mark.parametrize("missing", ["StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID"])
def test_missing_attributes_of_type_1_are_named_before_the_network_runs(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, missing: str, name: str
) -> None:
    """highdicom#41, dcmqi#157: they must have a value, so a segmentation cannot be written."""
    slices = make_slices()
    for slice_ in slices:
        del slice_[missing]
    series = save(slices, tmp_path / "ct")

    def must_not_run(*arguments: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Segmenter, "preprocess", must_not_run)
    result = predict(series, tmp_path / name, model)
    assert result.exit_code == 1
    assert f"lack {missing} (4 slices); write the mask as .nii.gz" in result.output
    assert "DOE" not in result.output
    assert not (tmp_path / name).exists()


def test_an_unusual_name_of_the_patient_is_not_printed(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """highdicom#99: its log quotes a name without a caret."""
    series = save(make_slices(PatientName="Doe"), tmp_path / "ct")
    result = predict(series, tmp_path / "mask.dcm", model)
    assert result.exit_code == 0, result.output
    assert "Doe" not in result.output + caplog.text


def multi_frame(slices: list[Dataset], *, concatenation: str | None = None) -> Dataset:
    """Return the slices as one multi-frame file."""
    image = make_slices()[0]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.NumberOfFrames = len(slices)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_copied(slices[0], "PixelSpacing")]
    shared.PlaneOrientationSequence = [_copied(slices[0], "ImageOrientationPatient")]
    shared.PixelValueTransformationSequence = [
        _copied(slices[0], "RescaleSlope", "RescaleIntercept")
    ]
    shared.PixelMeasuresSequence[0].SliceThickness = 2.5
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = []
    for slice_ in slices:
        group = Dataset()
        group.PlanePositionSequence = [_copied(slice_, "ImagePositionPatient")]
        image.PerFrameFunctionalGroupsSequence.append(group)
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del image[tag]
    del image.RescaleSlope, image.RescaleIntercept
    image.PixelData = b"".join(slice_.PixelData for slice_ in slices)
    if concatenation:
        image.ConcatenationUID = concatenation
    return image


def _copied(source: Dataset, *tags: str) -> Dataset:
    item = Dataset()
    for tag in tags:
        setattr(item, tag, source[tag].value)
    return item


Split = Callable[[list[Dataset]], list[list[Dataset]]]


@pytest.mark.parametrize(
    "split",
    [
        pytest.param(lambda slices: [slices[:2], slices[2:]], id="two files"),
        pytest.param(lambda slices: [slices[2:], slices[:1], slices[1:2]], id="three, shuffled"),
        pytest.param(lambda slices: [slices[::-1]], id="one file, head to feet"),
    ],
)
def test_a_concatenated_multi_frame_series_gets_its_segmentation(
    tmp_path: Path, model: Path, split: Split
) -> None:
    """highdicom#41, dcmqi#117: one volume in several multi-frame files of one series."""
    parts = split(make_slices())
    files = [multi_frame(part, concatenation="1.2.3.99") for part in parts]
    series = save(files, tmp_path / "ct")
    result = predict(series, tmp_path / "mask.dcm", model)
    assert result.exit_code == 0, result.output
    assert_dark(tmp_path / "mask.dcm")
    sources = {
        (file.SOPInstanceUID, number + 1): float(slice_.ImagePositionPatient[2])
        for file, part in zip(files, parts, strict=True)
        for number, slice_ in enumerate(part)
    }
    for group in pydicom.dcmread(tmp_path / "mask.dcm").PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        height = group.PlanePositionSequence[0].ImagePositionPatient[2]
        key = (source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber)
        assert sources[key] == height
