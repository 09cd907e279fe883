"""Thumbnails of a block whose place in the picture can be worked out by hand."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from thorax.imaging.intensity import HU, IntensityScale
from thorax.io import Scan
from thorax.reporting.audit_page.thumbnails import GAP, MOST_BYTES, SIDE, coarse_volume, thumbnail

SaveNifti = Callable[..., Path]

# 100 mm a side, so that a pixel is 100 / 192 mm.
AFFINE = np.diag([2.5, 2.5, 5.0, 1.0])
SHAPE = (40, 40, 20)
# On the patient's right, 50..75 mm; in front, 60..100 mm; at the head, 60..100 mm.
BLOCK = np.s_[20:30, 24:40, 12:20]
COLUMNS, ROWS = slice(48, 96), slice(0, 77)
LUNG = {"lung": [1]}


def ct() -> NDArray[np.int16]:
    voxels = np.full(SHAPE, -1000, np.int16)
    voxels[BLOCK] = 40
    return voxels


def marked(label: int = 1) -> NDArray[np.uint8]:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[BLOCK] = label
    return voxels


def seen(picture: bytes | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The coronal and the axial plane, as a browser decodes them."""
    assert picture is not None
    decoded = np.asarray(Image.open(BytesIO(picture)), dtype=np.int64)
    assert decoded.shape == (SIDE, 2 * SIDE + GAP, 3)
    return decoded[:, :SIDE], decoded[:, SIDE + GAP :]


def coloured(panel: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels that are more blue than red: the first region's outline."""
    return panel[..., 2] - panel[..., 0] > 60


def box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First and last row, first and last column."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@pytest.fixture
def scan(save_nifti: SaveNifti) -> Path:
    return save_nifti("scan.nii.gz", ct(), AFFINE)


def test_the_right_is_on_the_left_and_the_head_and_the_front_are_up(
    scan: Path, save_nifti: SaveNifti
) -> None:
    mask = save_nifti("mask.nii.gz", marked(), AFFINE)
    for panel in seen(thumbnail(scan, mask, {}, domain=HU)):
        inside = np.zeros((SIDE, SIDE), dtype=bool)
        inside[ROWS, COLUMNS] = True
        # Tissue is 1390 of 1500 HU up the lung window, air 350 of 1500.
        assert abs(np.median(panel[inside]) - 236) <= 3
        assert abs(np.median(panel[~inside]) - 60) <= 3
        assert box(panel[..., 0] > 150) == pytest.approx((0, 76, 48, 95), abs=1)


def test_regions_are_outlined_in_their_colours_and_not_filled(
    scan: Path, save_nifti: SaveNifti
) -> None:
    mask = save_nifti("mask.nii.gz", marked(), AFFINE)
    for panel in seen(thumbnail(scan, mask, LUNG, domain=HU)):
        assert box(coloured(panel)) == pytest.approx((0, 76, 48, 95), abs=1)
        assert not coloured(panel)[5:70, 55:90].any()


def test_only_labels_of_regions_are_outlined(scan: Path, save_nifti: SaveNifti) -> None:
    mask = save_nifti("mask.nii.gz", marked(label=7), AFFINE)
    assert not coloured(seen(thumbnail(scan, mask, LUNG, domain=HU))[0]).any()


def test_a_picture_does_not_depend_on_the_order_in_which_voxels_are_stored(
    scan: Path, save_nifti: SaveNifti
) -> None:
    lps = np.diag([-2.5, -2.5, 5.0, 1.0])
    lps[:2, 3] = 97.5
    turned = save_nifti("lps.nii.gz", ct()[::-1, ::-1], lps)
    mask = save_nifti("mask.nii.gz", marked(), AFFINE)
    assert thumbnail(turned, mask, LUNG, domain=HU) == thumbnail(scan, mask, LUNG, domain=HU)


def test_outlines_lie_where_the_header_of_the_mask_puts_them(
    scan: Path, save_nifti: SaveNifti
) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] = -25.0  # 25 mm to the patient's left: 48 pixels to the right
    mask = save_nifti("mask.nii.gz", marked(), shifted)
    for panel in seen(thumbnail(scan, mask, LUNG, domain=HU)):
        assert box(coloured(panel)) == pytest.approx((0, 76, 96, 143), abs=1)


def test_a_mask_of_another_shape_lies_in_its_place(scan: Path, save_nifti: SaveNifti) -> None:
    cut = AFFINE.copy()
    cut[:3, 3] = 20 * 2.5, 24 * 2.5, 12 * 5.0
    mask = save_nifti("mask.nii.gz", marked()[20:, 24:, 12:], cut)
    whole = save_nifti("whole.nii.gz", marked(), AFFINE)
    assert thumbnail(scan, mask, LUNG, domain=HU) == thumbnail(scan, whole, LUNG, domain=HU)


def test_millimetres_are_square_in_both_planes(save_nifti: SaveNifti) -> None:
    voxels = np.full((100, 50, 20), -1000, np.int16)
    voxels[30:70, 15:35, 6:14] = 40  # 40 mm a side at 1 × 2 × 5 mm, in the middle
    scan = save_nifti("scan.nii.gz", voxels, np.diag([1.0, 2.0, 5.0, 1.0]))
    for panel in seen(thumbnail(scan, None, LUNG, domain=HU)):
        assert box(panel[..., 0] > 150) == pytest.approx((58, 133, 58, 133), abs=2)


def test_a_case_without_a_mask_shows_the_middle_of_its_lungs(save_nifti: SaveNifti) -> None:
    voxels = np.full((64, 64, 20), 40, np.int16)
    voxels[:4] = voxels[-4:] = voxels[:, :4] = voxels[:, -4:] = -1000
    # The middle plane, 32, shows no lung.
    voxels[12:28, 34:58] = voxels[36:52, 34:58] = -850
    scan = save_nifti("scan.nii.gz", voxels, np.diag([5.0, 5.0, 16.0, 1.0]))
    coronal, _ = seen(thumbnail(scan, None, LUNG, domain=HU))
    dark = (coronal[..., 0] > 70) & (coronal[..., 0] < 100)
    assert dark.mean() > 0.3
    assert not coloured(coronal).any()


@pytest.mark.parametrize(
    "content", [b"", b"no image", b"\x1f\x8b\x08\x00 cut short"], ids=["empty", "text", "cut"]
)
def test_a_broken_mask_is_as_none(scan: Path, tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "mask.nii.gz"
    broken.write_bytes(content)
    assert thumbnail(scan, broken, LUNG, domain=HU) == thumbnail(scan, None, LUNG, domain=HU)


def test_a_mask_that_is_not_there_is_as_none(scan: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone.nii.gz"
    assert thumbnail(scan, gone, LUNG, domain=HU) == thumbnail(scan, None, LUNG, domain=HU)


def test_a_scan_that_cannot_be_read_has_no_picture(scan: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(scan.read_bytes()[:-40])
    assert thumbnail(cut, None, LUNG, domain=HU) is None
    assert thumbnail(tmp_path / "gone.nii.gz", None, LUNG, domain=HU) is None


def test_noise_is_still_small(save_nifti: SaveNifti) -> None:
    voxels = np.random.default_rng(0).integers(-1350, 150, (200, 200, 200)).astype(np.int16)
    picture = thumbnail(save_nifti("scan.nii", voxels, np.eye(4)), None, LUNG, domain=HU)
    assert picture is not None
    assert 1000 < len(picture) <= MOST_BYTES


def test_values_of_unknown_meaning_are_spread_over_the_greys(save_nifti: SaveNifti) -> None:
    scan = save_nifti("scan.nii.gz", (ct() + 1000) / np.float32(1040.0), AFFINE)
    mask = save_nifti("mask.nii.gz", marked(), AFFINE)
    coronal, axial = seen(thumbnail(scan, mask, {}))
    assert coronal.min() < 5
    assert axial.max() > 250


def test_a_scan_of_one_value_is_drawn_too(save_nifti: SaveNifti) -> None:
    scan = save_nifti("scan.nii.gz", np.full(SHAPE, 7, np.int16), AFFINE)
    assert np.ptp(seen(thumbnail(scan, None, LUNG))[0]) == 0


def test_offsets_are_taken_off(scan: Path, save_nifti: SaveNifti) -> None:
    shifted = save_nifti("shifted.nii.gz", ct() + np.int16(1024), AFFINE)
    assert thumbnail(shifted, None, LUNG, domain=IntensityScale(offset_hu=1024)) == thumbnail(
        scan, None, LUNG, domain=HU
    )


def test_a_large_volume_is_kept_coarsely_and_stays_in_its_place(tmp_path: Path) -> None:
    voxels = np.zeros((300, 10, 513), np.int16)
    voxels[200, :, 510] = 9
    path = tmp_path / "long.nii"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.5, 1.0, 1.0, 1.0])), path)
    coarse = coarse_volume(Scan(path))
    assert coarse.grid.shape == (150, 10, 171)
    assert coarse.grid.spacing_mm == (1.0, 1.0, 3.0)
    assert coarse.voxels[100, 0, 170] == 9
    assert (coarse.grid.affine @ [100, 0, 170, 1])[[0, 2]].tolist() == [100.0, 510.0]
