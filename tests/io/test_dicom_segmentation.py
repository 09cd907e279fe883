"""Frames of DICOM segmentations, read back by highdicom."""

from pathlib import Path

import highdicom
import numpy as np
import pytest

from thorax.io import Scan, write_dicom_masks

from ..structure_sets import HEIGHTS_MM, save_ct


@pytest.mark.parametrize(("all_frames", "count"), [(False, 3), (True, 8)])
def test_all_frames_are_written_on_request(tmp_path: Path, all_frames: bool, count: int) -> None:
    scan = Scan(save_ct(tmp_path / "ct"))
    stored = np.zeros((2, 4, 10, 12), dtype=np.uint8)
    stored[0, 1:3, 2:5, 3:9] = 1
    stored[1, 2, 3, 4:6] = 1
    masks = stored.transpose(0, 1, 3, 2)[:, :, ::-1, ::-1]
    path = tmp_path / "seg.dcm"
    write_dicom_masks(path, scan, masks, ["lung", "infection"], all_frames=all_frames)

    segmentation = highdicom.seg.segread(path)
    assert segmentation.NumberOfFrames == count
    volume = segmentation.get_volume(combine_segments=False, allow_missing_positions=True)
    heights = [
        volume.map_indices_to_reference(np.array([[index, 0, 0]]))[0, 2]
        for index in range(volume.spatial_shape[0])
    ]
    planes = dict(zip(np.round(heights, 3).tolist(), volume.array, strict=True))
    assert len(planes) == (4 if all_frames else 2)
    for height, plane in planes.items():
        expected = np.moveaxis(stored[:, HEIGHTS_MM.index(height)], 0, -1)
        np.testing.assert_array_equal(plane, expected)
