"""Formats are recognised by name and by the first bytes."""

import numpy as np
import pytest

from thorax.io.suffixes import begins_as_dicom

REST = bytes(132)


def words(*values: int) -> bytes:
    """Return voxels of 16 bits that fill the rest of the head with their last value."""
    return np.pad(np.array(values, "<u2"), (0, 80 - len(values)), mode="edge").tobytes()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(bytes(128) + b"DICM", id="preamble"),
        pytest.param(b"\x08\0\x05\0CS\x80\0" + REST, id="explicit VR"),
        pytest.param(b"\x08\0\x05\0" + b"\x80\0\0\0" + REST, id="implicit VR"),
        pytest.param(b"\x02\0\0\0UL\x04\0\xb0\0\0\0\x02\0\x10\0UI\xa0\0" + REST, id="meta group"),
        pytest.param(
            b"\x08\0\0\0\x04\0\0\0\xb0\0\0\0\x08\0\x10\0\x0c\0\0\0ACR-NEMA 2.0"
            b"\x08\0\x11\0\xff\xff\xff\xff" + REST,
            id="ACR-NEMA, then a sequence",
        ),
    ],
)
def test_elements_in_order_are_dicom(head: bytes) -> None:
    assert begins_as_dicom(head[:132])


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(words(8, 24), id="constant"),
        pytest.param(words(8), id="eights"),
        pytest.param(words(2), id="twos"),
        pytest.param(words(8, 0), id="zeros"),
        pytest.param(words(8, 0, 4, 0), id="zeros after a length of 4"),
        pytest.param(words(8, 5, 0, 0, 8, 5, 0, 0), id="the same tag again"),
        pytest.param(words(8, 5, 0xFFFF), id="undefined length of the first element"),
        pytest.param(words(8, 65000, 65100), id="negative voxels"),
        pytest.param(b"\x08\0\x05\0CS\x80\0", id="too short"),
        pytest.param(b"\x10\0\x10\0PN\x80\0" + REST, id="another group"),
    ],
)
def test_voxels_are_not_dicom(head: bytes) -> None:
    assert not begins_as_dicom(head[:132])


def test_noise_around_8_is_not_dicom() -> None:
    noise = np.random.default_rng(0).poisson(8, (2000, 66)).astype("<u2")
    noise[:, 0] = 8
    assert not any(begins_as_dicom(row.tobytes()) for row in noise)
