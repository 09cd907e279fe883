"""What headers state in their own words."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.io.raw_header import Declared, read_raw_header


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", [nibabel.Nifti1Header, nibabel.Nifti2Header])
def test_a_header_is_read_as_it_stands(tmp_path: Path, form: type, order: str) -> None:
    header = form(endianness=order)
    header["pixdim"][1:4] = -0.5, 0, 2
    header["sform_code"] = header["qform_code"] = 0
    header.set_xyzt_units("meter")
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock)
    assert read_raw_header(path) == Declared((-0.5, 0.0, 2.0), oriented=False, unit="m")


def test_a_packed_file_of_ours_states_all(save_nifti: Callable[..., Path]) -> None:
    stated = read_raw_header(save_nifti("a.nii.gz", np.zeros((2, 2, 2), np.uint8)))
    assert stated.spacing == pytest.approx((0.8, 0.8, 2.5))
    assert (stated.oriented, stated.unit) == (True, "")


def test_other_formats_state_nothing(tmp_path: Path) -> None:
    assert read_raw_header(tmp_path / "a.nrrd") == Declared()


@pytest.mark.parametrize("content", [b"", b"short", bytes(600)], ids=["empty", "short", "zeros"])
def test_what_is_no_header_is_refused_or_states_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    if len(content) > 540:
        assert read_raw_header(path) == Declared()
        return
    with pytest.raises(InputError, match=r"a\.nii cannot be read: the header is cut short$"):
        read_raw_header(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_raw_header(tmp_path / "a.nii.gz")
