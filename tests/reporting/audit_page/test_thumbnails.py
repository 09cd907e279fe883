"""Thumbnails of a block with a known position in the picture."""

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

# 100 mm per side, so a pixel is 100 / 192 mm.
AFFINE = np.diag([2.5, 2.5, 5.0, 1.0])
SHAPE = (40, 40, 20)
# Patient's right 50..75 mm, front 60..100 mm, head 60..100 mm.
BLOCK = np.s_[20:30, 24:40, 12:20]
COLUMNS, ROWS = slice(48, 96), slice(0, 77)
LUNG = {"lung": [1]}


def ct() -> NDArray[np.int16]:
    voxels = np.full(SHAPE, -1000, np.int16)
    voxels[BLOCK] = 40
    return voxels


def mask_voxels(label: int = 1) -> NDArray[np.uint8]:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[BLOCK] = label
    return voxels


def decoded_slices(picture: bytes | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the coronal and the axial slice, as a browser decodes them."""
    assert picture is not None
    decoded = np.asarray(Image.open(BytesIO(picture)), dtype=np.int64)
    assert decoded.shape == (SIDE, 2 * SIDE + GAP, 3)
    return decoded[:, :SIDE], decoded[:, SIDE + GAP :]


def coloured(panel: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the pixels that are more blue than red: the outline of the first region."""
    return panel[..., 2] - panel[..., 0] > 60


def box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return first and last row, first and last column."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@pytest.fixture
def scan(save_nifti: SaveNifti) -> Path:
    return save_nifti("scan.nii.gz", ct(), AFFINE)


def test_pictures_are_in_radiological_convention(scan: Path, save_nifti: SaveNifti) -> None:
    mask = save_nifti("mask.nii.gz", mask_voxels(), AFFINE)
    for panel in decoded_slices(thumbnail(scan, mask, {}, intensity=HU)):
        inside = np.zeros((SIDE, SIDE), dtype=bool)
        inside[ROWS, COLUMNS] = True
        # In the lung window, tissue is at 1390 of 1500 HU, air at 350 of 1500.
        assert abs(np.median(panel[inside]) - 236) <= 3
        assert abs(np.median(panel[~inside]) - 60) <= 3
        assert box(panel[..., 0] > 150) == pytest.approx((0, 76, 48, 95), abs=1)


def test_regions_are_outlined_in_their_colours_and_not_filled(
    scan: Path, save_nifti: SaveNifti
) -> None:
    mask = save_nifti("mask.nii.gz", mask_voxels(), AFFINE)
    for panel in decoded_slices(thumbnail(scan, mask, LUNG, intensity=HU)):
        assert box(coloured(panel)) == pytest.approx((0, 76, 48, 95), abs=1)
        assert not coloured(panel)[5:70, 55:90].any()


def test_only_labels_of_regions_are_outlined(scan: Path, save_nifti: SaveNifti) -> None:
    mask = save_nifti("mask.nii.gz", mask_voxels(label=7), AFFINE)
    assert not coloured(decoded_slices(thumbnail(scan, mask, LUNG, intensity=HU))[0]).any()


def test_the_storage_order_of_voxels_does_not_change_the_picture(
    scan: Path, save_nifti: SaveNifti
) -> None:
    lps = np.diag([-2.5, -2.5, 5.0, 1.0])
    lps[:2, 3] = 97.5
    flipped = save_nifti("lps.nii.gz", ct()[::-1, ::-1], lps)
    mask = save_nifti("mask.nii.gz", mask_voxels(), AFFINE)
    assert thumbnail(flipped, mask, LUNG, intensity=HU) == thumbnail(scan, mask, LUNG, intensity=HU)


def test_outlines_are_placed_by_the_header_of_the_mask(scan: Path, save_nifti: SaveNifti) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] = -25.0  # 25 mm to the patient's left: 48 pixels to the right
    mask = save_nifti("mask.nii.gz", mask_voxels(), shifted)
    for panel in decoded_slices(thumbnail(scan, mask, LUNG, intensity=HU)):
        assert box(coloured(panel)) == pytest.approx((0, 76, 96, 143), abs=1)


def test_a_mask_of_another_shape_is_placed_correctly(scan: Path, save_nifti: SaveNifti) -> None:
    cut = AFFINE.copy()
    cut[:3, 3] = 20 * 2.5, 24 * 2.5, 12 * 5.0
    mask = save_nifti("mask.nii.gz", mask_voxels()[20:, 24:, 12:], cut)
    whole = save_nifti("whole.nii.gz", mask_voxels(), AFFINE)
    assert thumbnail(scan, mask, LUNG, intensity=HU) == thumbnail(scan, whole, LUNG, intensity=HU)


def test_both_slices_have_the_same_scale_in_mm(save_nifti: SaveNifti) -> None:
    voxels = np.full((100, 50, 20), -1000, np.int16)
    voxels[30:70, 15:35, 6:14] = 40  # 40 mm per side at 1 × 2 × 5 mm, in the centre
    scan = save_nifti("scan.nii.gz", voxels, np.diag([1.0, 2.0, 5.0, 1.0]))
    for panel in decoded_slices(thumbnail(scan, None, LUNG, intensity=HU)):
        assert box(panel[..., 0] > 150) == pytest.approx((58, 133, 58, 133), abs=2)


def test_without_a_mask_the_slices_cross_the_lungs(save_nifti: SaveNifti) -> None:
    voxels = np.full((64, 64, 20), 40, np.int16)
    voxels[:4] = voxels[-4:] = voxels[:, :4] = voxels[:, -4:] = -1000
    # The central coronal slice, 32, contains no lung.
    voxels[12:28, 34:58] = voxels[36:52, 34:58] = -850
    scan = save_nifti("scan.nii.gz", voxels, np.diag([5.0, 5.0, 16.0, 1.0]))
    coronal, _ = decoded_slices(thumbnail(scan, None, LUNG, intensity=HU))
    dark = (coronal[..., 0] > 70) & (coronal[..., 0] < 100)
    assert dark.mean() > 0.3
    assert not coloured(coronal).any()


@pytest.mark.parametrize(
    "content", [b"", b"no image", b"\x1f\x8b\x08\x00 cut short"], ids=["empty", "text", "cut"]
)
def test_a_damaged_mask_is_ignored(scan: Path, tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "mask.nii.gz"
    broken.write_bytes(content)
    assert thumbnail(scan, broken, LUNG, intensity=HU) == thumbnail(scan, None, LUNG, intensity=HU)


def test_a_missing_mask_is_ignored(scan: Path, tmp_path: Path) -> None:
    missing = tmp_path / "gone.nii.gz"
    assert thumbnail(scan, missing, LUNG, intensity=HU) == thumbnail(scan, None, LUNG, intensity=HU)


def test_an_unreadable_scan_has_no_picture(scan: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(scan.read_bytes()[:-40])
    assert thumbnail(cut, None, LUNG, intensity=HU) is None
    assert thumbnail(tmp_path / "gone.nii.gz", None, LUNG, intensity=HU) is None


def test_a_noisy_scan_gives_a_small_file(save_nifti: SaveNifti) -> None:
    voxels = np.random.default_rng(0).integers(-1350, 150, (200, 200, 200)).astype(np.int16)
    picture = thumbnail(save_nifti("scan.nii", voxels, np.eye(4)), None, LUNG, intensity=HU)
    assert picture is not None
    assert 1000 < len(picture) <= MOST_BYTES


def test_an_unknown_scale_is_displayed_in_its_range(save_nifti: SaveNifti) -> None:
    scan = save_nifti("scan.nii.gz", (ct() + 1000) / np.float32(1040.0), AFFINE)
    mask = save_nifti("mask.nii.gz", mask_voxels(), AFFINE)
    coronal, axial = decoded_slices(thumbnail(scan, mask, {}))
    assert coronal.min() < 5
    assert axial.max() > 250


def test_a_constant_scan_is_drawn(save_nifti: SaveNifti) -> None:
    scan = save_nifti("scan.nii.gz", np.full(SHAPE, 7, np.int16), AFFINE)
    assert np.ptp(decoded_slices(thumbnail(scan, None, LUNG))[0]) == 0


def test_intensity_offsets_are_subtracted(scan: Path, save_nifti: SaveNifti) -> None:
    shifted = save_nifti("shifted.nii.gz", ct() + np.int16(1024), AFFINE)
    assert thumbnail(shifted, None, LUNG, intensity=IntensityScale(offset_hu=1024)) == thumbnail(
        scan, None, LUNG, intensity=HU
    )


def test_a_large_volume_is_subsampled_in_place(tmp_path: Path) -> None:
    voxels = np.zeros((300, 10, 513), np.int16)
    voxels[200, :, 510] = 9
    path = tmp_path / "long.nii"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.5, 1.0, 1.0, 1.0])), path)
    coarse = coarse_volume(Scan(path))
    assert coarse.grid.shape == (150, 10, 171)
    assert coarse.grid.spacing_mm == (1.0, 1.0, 3.0)
    assert coarse.voxels[100, 0, 170] == 9
    assert (coarse.grid.affine @ [100, 0, 170, 1])[[0, 2]].tolist() == [100.0, 510.0]
