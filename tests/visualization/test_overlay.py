"""Overlays: choice of slices, orientation, outlines and files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import nibabel
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from thorax.imaging.intensity import IntensityScale
from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.visualization.drawing import save_png
from thorax.visualization.overlay import busiest_voxel, orthogonal_slices, overlay

SaveNifti = Callable[..., Path]

REGIONS = Regions({"lung": (1, 2), "infection": (2,)})
AIR = -1000
# The lung window shows -1350 HU black and 150 HU white; air is (-1000 + 1350) / 1500 of that.
AIR_GREY = 350 / 1500


@pytest.fixture
def save(save_nifti: SaveNifti) -> Callable[..., Scan]:
    """Return a function that saves voxels in RAS+ order and returns their scan."""

    def save_scan(name: str, voxels: Any, affine: Any = None) -> Scan:
        return Scan(save_nifti(f"{name}.nii.gz", voxels, np.eye(4) if affine is None else affine))

    return save_scan


def box(*where: slice, value: int = 1, shape: tuple[int, int, int] = (8, 8, 8)) -> np.ndarray:
    voxels = np.zeros(shape, np.uint8)
    voxels[where] = value
    return voxels


MIDDLE = box(slice(2, 6), slice(2, 6), slice(2, 6))


def rendered(figure: Figure) -> np.ndarray:
    """Return the pixels, top row first, 0..1."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def grey_at(figure: Figure, panel: int, right: float, up: float) -> float:
    """Return the brightness of a panel at these fractions of its width and height."""
    picture = rendered(figure)
    x, y = figure.axes[panel].transAxes.transform((right, up))
    pixel = picture[len(picture) - 1 - int(y), int(x)]
    assert pixel.max() - pixel.min() < 0.02, "a line was hit"
    return float(pixel.mean())


# Choice of slices


def test_the_slices_have_most_voxels_of_the_last_region(save: Any) -> None:
    """The infection is a cross through (5, 2, 6); most of the lung is elsewhere."""
    labels = box(slice(0, 4), slice(4, 8), slice(0, 3))
    for along in range(3):
        arm: list[Any] = [5, 2, 6]
        arm[along] = slice(arm[along] - 1, arm[along] + 2)
        labels[tuple(arm)] = 2
    assert busiest_voxel(save("mask", labels), REGIONS) == (5, 2, 6)


def test_without_the_last_region_the_previous_region_counts(save: Any) -> None:
    labels = box(slice(0, 1), slice(0, 1), slice(0, 1))
    labels[4:7, 3, 1] = 1
    assert busiest_voxel(save("mask", labels), REGIONS)[1:] == (3, 1)


def test_an_empty_mask_gives_the_middle(save: Any) -> None:
    assert busiest_voxel(save("mask", np.zeros((9, 5, 4), np.uint8)), REGIONS) == (4, 2, 2)


@pytest.mark.parametrize("order", ["RAS", "LPI", "SRA"])
def test_voxels_are_counted_in_all_slabs(save: Any, order: str) -> None:
    labels = box(slice(1, 3), slice(2, 3), slice(37, 38), shape=(4, 5, 40))
    labels[1, 0, 3] = 1
    image = nibabel.Nifti1Image(labels, np.eye(4)).as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(order)
        )
    )
    mask = save("mask", np.asarray(image.dataobj), image.affine)
    assert busiest_voxel(mask, REGIONS) == (1, 2, 37)


@pytest.mark.parametrize("flip", [1, -1])
def test_orthogonal_slices_of_a_small_volume(save: Any, flip: int) -> None:
    """Voxels are 1000·x + 100·y + z, in several slabs; slices are ``[across, up]``."""
    x, y, z = np.indices((2, 3, 40))
    voxels = (1000 * x + 100 * y + z).astype(np.int16)[:, :, ::flip]
    affine = np.diag([1.0, 1, flip, 1])
    affine[2, 3] = 39 if flip < 0 else 0
    axial, coronal, sagittal = orthogonal_slices(save("ct", voxels, affine), (1, 2, 35))
    assert axial.tolist() == [[35, 135, 235], [1035, 1135, 1235]]
    assert coronal.shape == (2, 40)
    assert coronal[:, :2].tolist() == [[200, 201], [1200, 1201]]
    assert coronal[:, 39].tolist() == [239, 1239]
    assert sagittal.shape == (3, 40)
    assert sagittal[:, 38:].tolist() == [[1038, 1039], [1138, 1139], [1238, 1239]]


# Orientation


@pytest.mark.parametrize(
    ("panel", "bright", "right", "up"),
    [
        pytest.param(0, np.s_[6:, :, :], 0.125, 0.35, id="axial: the patient's right is left"),
        pytest.param(0, np.s_[:, 6:, :], 0.35, 0.875, id="axial: the front is up"),
        pytest.param(1, np.s_[6:, :, :], 0.125, 0.35, id="coronal: the patient's right is left"),
        pytest.param(1, np.s_[:, :, 6:], 0.35, 0.875, id="coronal: the head is up"),
        pytest.param(2, np.s_[:, 6:, :], 0.125, 0.35, id="sagittal: the front is left"),
        pytest.param(2, np.s_[:, :, 6:], 0.35, 0.875, id="sagittal: the head is up"),
    ],
)
def test_slices_are_in_radiological_convention(
    save: Any, panel: int, bright: Any, right: float, up: float
) -> None:
    voxels = np.full((8, 8, 8), AIR, np.int16)
    voxels[bright] = 150
    empty = save("mask", np.zeros((8, 8, 8), np.uint8))
    figure = overlay(save("ct", voxels), {"truth": empty}, REGIONS)
    assert grey_at(figure, panel, right, up) == pytest.approx(1, abs=0.01)
    assert grey_at(figure, panel, 1 - right, 1 - up) == pytest.approx(AIR_GREY, abs=0.01)


def test_edges_are_labelled(save: Any) -> None:
    figure = overlay(save("ct", MIDDLE), {"truth": save("mask", MIDDLE)}, REGIONS, title="case 1")
    labels_of_panels = [
        (axes.get_title(), *(text.get_text() for text in axes.texts)) for axes in figure.axes
    ]
    assert labels_of_panels == [("axial", "R", "L"), ("coronal", "R", "L"), ("sagittal", "A", "P")]
    assert figure.get_suptitle() == "case 1"


def test_an_8_bit_export_is_shown_in_hu(save: Any) -> None:
    """0 means -1250 HU, which is 100/1500 of the window."""
    ct = save("ct", np.zeros((8, 8, 8), np.uint8))
    intensity = IntensityScale((-1250, 250))
    figure = overlay(ct, {"truth": save("mask", MIDDLE)}, REGIONS, intensity=intensity)
    assert grey_at(figure, 0, 0.3, 0.1) == pytest.approx(100 / 1500, abs=0.01)


def test_panels_are_drawn_in_mm(save: Any) -> None:
    """8 voxels of 0.5 mm across, 8 of 0.5 mm to the front, 8 of 3 mm up."""
    affine = np.diag([0.5, 0.5, 3.0, 1.0])
    figure = overlay(save("ct", MIDDLE, affine), {"a": save("mask", MIDDLE, affine)}, REGIONS)
    sizes = [
        [float(abs(np.subtract(*limits))) for limits in (axes.get_xlim(), axes.get_ylim())]
        for axes in figure.axes
    ]
    assert sizes == [[4, 4], [4, 24], [4, 24]]
    assert all(axes.get_aspect() == 1 for axes in figure.axes)


# Outlines


def outline_lines(figure: Figure, panel: int) -> list[np.ndarray]:
    """Return the outlines in a panel, in mm from its right lower corner."""
    paths = [
        path for collection in figure.axes[panel].collections for path in collection.get_paths()
    ]
    return [line for path in paths for line in path.to_polygons(closed_only=False)]


def ends(lines: list[np.ndarray]) -> list[float]:
    """Return the range of positions across, then up."""
    points = np.concatenate(lines)
    return [*np.stack([points.min(axis=0), points.max(axis=0)], axis=1).ravel().tolist()]


def test_outlines_follow_the_edges_of_voxels(save: Any) -> None:
    """Voxels 2..4 across, 1..3 to the front, 5..6 up, of 2, 2 and 5 mm."""
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    labels = box(slice(2, 5), slice(1, 4), slice(5, 7))
    figure = overlay(save("ct", MIDDLE, affine), {"truth": save("mask", labels, affine)}, REGIONS)
    assert ends(outline_lines(figure, 0)) == pytest.approx([4, 10, 2, 8])
    assert ends(outline_lines(figure, 1)) == pytest.approx([4, 10, 25, 35])
    assert ends(outline_lines(figure, 2)) == pytest.approx([2, 8, 25, 35])


def test_an_outline_is_closed_at_the_border_of_the_scan(save: Any) -> None:
    labels = box(slice(4, 8), slice(0, 3), slice(0, 8))
    figure = overlay(save("ct", MIDDLE), {"truth": save("mask", labels)}, REGIONS)
    (line,) = outline_lines(figure, 0)
    assert line[0].tolist() == line[-1].tolist()
    assert ends([line]) == pytest.approx([4, 8, 0, 3])
    assert figure.axes[0].get_xlim() == (8, 0)
    assert figure.axes[0].get_ylim() == (0, 8)


def test_a_region_that_fills_the_slice_has_an_outline(save: Any) -> None:
    figure = overlay(save("ct", MIDDLE), {"truth": save("mask", MIDDLE * 0 + 1)}, REGIONS)
    assert ends(outline_lines(figure, 0)) == pytest.approx([0, 8, 0, 8])


def test_regions_have_colours_and_masks_have_line_styles(save: Any) -> None:
    labels = MIDDLE.copy()
    labels[3:5, 3:5, 3:5] = 2
    masks = {"truth": save("truth", labels), "predicted": save("predicted", MIDDLE)}
    figure = overlay(save("ct", MIDDLE), masks, REGIONS)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "lung, truth",
        "lung, predicted",
        "infection, truth",
        "infection, predicted",
    ]
    drawn = [(line.get_color(), line.get_linestyle()) for line in legend.get_lines()]
    assert drawn == [("#56b4e9", "-"), ("#56b4e9", ":"), ("#e69f00", "-"), ("#e69f00", ":")]
    # Two outlines of the lung and one of the infection.
    assert len(figure.axes[0].collections) == 3


@pytest.mark.parametrize("count", [1, 5, 8])
def test_title_and_legend_fit_into_the_picture(save: Any, tmp_path: Path, count: int) -> None:
    names = [f"lobe_with_a_long_name_{number}" for number in range(1, count + 1)]
    regions = Regions({name: (number,) for number, name in enumerate(names, start=1)})
    masks = {"truth": save("truth", MIDDLE * 0 + 1), "predicted": save("predicted", MIDDLE)}
    title = "   ".join(f"{name} Dice 0.912" for name in names)
    figure = overlay(save("ct", MIDDLE), masks, regions, title=title)
    save_png(figure, tmp_path / "overlay.png")
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 2 * count
    for part in (legend, *figure.texts, *figure.axes):
        extent = part.get_window_extent()
        assert min(extent.x0, extent.y0) >= 0
        assert extent.x1 <= figure.bbox.width
        assert extent.y1 <= figure.bbox.height


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((8, 8, 1), id="one plane"),
        pytest.param((8, 1, 8), id="one row"),
        pytest.param((1, 8, 8), id="one column"),
    ],
)
def test_thin_scans_are_drawn(save: Any, tmp_path: Path, shape: tuple[int, int, int]) -> None:
    labels = box(slice(0, 4), slice(0, 4), slice(0, 4), shape=shape)
    ct = save("ct", np.full(shape, AIR, np.int16))
    figure = overlay(ct, {"truth": save("mask", labels)}, REGIONS)
    assert [len(outline_lines(figure, panel)) for panel in range(3)] == [1, 1, 1]
    save_png(figure, tmp_path / "thin.png")


def test_empty_masks_have_no_outline(save: Any) -> None:
    empty = save("mask", MIDDLE * 0)
    figure = overlay(save("ct", MIDDLE), {"truth": empty, "predicted": empty}, REGIONS)
    assert [len(axes.collections) for axes in figure.axes] == [0, 0, 0]


# Files


def test_a_picture_needs_no_display(
    save: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setitem(matplotlib.rcParams, "backend", "tkagg")
    figure = overlay(save("ct", MIDDLE), {"truth": save("mask", MIDDLE)}, REGIONS, title="case_1")
    save_png(figure, tmp_path / "overlays" / "case_1.png")
    picture = matplotlib.image.imread(tmp_path / "overlays" / "case_1.png")
    assert picture.shape == (572, 1430, 4), "13 × 5.2 inches at 110 dots"
    assert 0.05 < picture[..., :3].mean() < 0.95


def test_equal_pictures_give_equal_files(save: Any, tmp_path: Path) -> None:
    ct, mask = save("ct", MIDDLE), save("mask", MIDDLE)
    for name in ("a.png", "b.png"):
        save_png(overlay(ct, {"truth": mask}, REGIONS, title="case"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    other = overlay(ct, {"truth": mask}, REGIONS, title="another")
    save_png(other, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes() != (tmp_path / "a.png").read_bytes()
    assert b"Software" not in (tmp_path / "a.png").read_bytes()
