"""Raw headers: the values of the file, uncorrected."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.io.raw_header import RawHeader, read_raw_header


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("header_class", [nibabel.Nifti1Header, nibabel.Nifti2Header])
def test_values_of_a_header_are_not_corrected(
    tmp_path: Path, header_class: type, order: str
) -> None:
    header = header_class(endianness=order)
    header["pixdim"][1:4] = -0.5, 0, 2
    header["sform_code"] = header["qform_code"] = 0
    header.set_xyzt_units("meter")
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock)
    assert read_raw_header(path) == RawHeader((-0.5, 0.0, 2.0), oriented=False, unit="m")


def test_a_gzip_file_states_spacing_orientation_and_unit(save_nifti: Callable[..., Path]) -> None:
    header = read_raw_header(save_nifti("a.nii.gz", np.zeros((2, 2, 2), np.uint8)))
    assert header.spacing == pytest.approx((0.8, 0.8, 2.5))
    assert (header.oriented, header.unit) == (True, "")


def test_other_formats_state_nothing(tmp_path: Path) -> None:
    assert read_raw_header(tmp_path / "a.nrrd") == RawHeader()


@pytest.mark.parametrize("content", [b"", b"short", bytes(600)], ids=["empty", "short", "zeros"])
def test_other_content_is_refused_or_states_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    if len(content) > 540:
        assert read_raw_header(path) == RawHeader()
        return
    with pytest.raises(InputError, match=r"a\.nii cannot be read: the header is cut short$"):
        read_raw_header(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_raw_header(tmp_path / "a.nii.gz")
