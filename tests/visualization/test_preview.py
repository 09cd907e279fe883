"""Previews: legend, layout, unusual scans and names."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

import thorax.visualization.render
from thorax.imaging.intensity import HU
from thorax.imaging.placement import place_box
from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.preprocessing.canvas import find_placement, place_regions
from thorax.preprocessing.records import CaseRecord
from thorax.visualization.drawing import COLOURS, save_png
from thorax.visualization.mesh import surface
from thorax.visualization.overlay import orthogonal_slices
from thorax.visualization.preview import (
    PreviewData,
    SliceView,
    busiest_pixel,
    draw_preview,
    printable_line,
    scan_voxel,
)

LCTSC = Path(__file__).parents[3] / "shared" / "data" / "lctsc"
AIR = -1000


def lesion(x: int, y: int, z: int, *, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask ``(X, Y, Z)`` with a block of 4×4×4 voxels at a corner."""
    mask = np.zeros(shape, bool)
    mask[x : x + 4, y : y + 4, z : z + 4] = True
    return mask


def preview_data(
    masks: Mapping[str, np.ndarray], *, spacing_mm: tuple[float, float, float] = (5.0, 5.0, 5.0)
) -> PreviewData:
    """Return a preview of a body in air, with a canvas equal to the scan."""
    voxels = np.stack(list(masks.values()))
    shape = voxels.shape[1:]
    hu = np.full(shape, AIR, np.int16)
    hu[shape[0] // 8 : -(shape[0] // 8) or None, shape[1] // 8 : -(shape[1] // 8) or None] = 0
    canvases = np.moveaxis(voxels, 3, 1)
    x, y, z = busiest_pixel(canvases)
    return PreviewData(
        slices=(
            SliceView(hu[:, :, z], voxels[:, :, :, z]),
            SliceView(hu[:, y], voxels[:, :, y]),
            SliceView(hu[x], voxels[:, x]),
        ),
        at=(x, y, z),
        at_mm=(12.4, -30.0, 0.0),
        spacing_mm=spacing_mm,
        regions=tuple(masks),
        canvases=canvases,
        surfaces=tuple(surface(mask, spacing_mm=spacing_mm) for mask in canvases),
        volumes_ml={name: mask.sum() * np.prod(spacing_mm) / 1000 for name, mask in masks.items()},
        title="scan.nii.gz",
    )


SHAPE = (48, 40, 36)
LUNG = np.zeros(SHAPE, bool)
LUNG[8:40, 10:30, 6:30] = True
INFECTION = lesion(30, 12, 20, shape=SHAPE)
BOTH = preview_data({"lung": LUNG, "infection": INFECTION})
EMPTY = preview_data({"lung": LUNG & False, "infection": LUNG & False})


@pytest.fixture(autouse=True)
def _fast_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render surfaces without supersampling, in a quarter of the time."""
    monkeypatch.setattr(thorax.visualization.render, "SUPERSAMPLING", 1)


@cache
def preview_of_both() -> Figure:
    """Return the preview of both regions, for tests that do not change it."""
    return draw_preview(BOTH)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def pixels(figure: Figure, folder: Path) -> np.ndarray:
    save_png(figure, folder / "preview.png")
    return matplotlib.image.imread(folder / "preview.png")[..., :3]


# Texts


def test_the_legend_lists_volumes_and_percentages() -> None:
    """A voxel has 0.125 mL; 32 × 20 × 24 voxels are lung, 64 infection."""
    assert texts(preview_of_both()) == [
        "axial, S 0 mm",
        "coronal, P 30 mm",
        "sagittal, R 12 mm",
        "lung 1,920 mL",
        "infection 8.0 mL, 0.4 % of lung",
        "from the front",
        "scan.nii.gz",
    ]


def test_the_legend_lists_the_volumes_of_known_sides() -> None:
    sides = {"lung": (1000.2, 919.8), "infection": (8.0, 0.0)}
    lines = texts(draw_preview(replace(BOTH, sides_ml=sides)))
    assert "right 1,000 mL, left 920 mL" in lines
    assert "right 8.0 mL, left 0 mL" in lines


def test_the_legend_has_the_colours_of_the_outlines() -> None:
    squares = preview_of_both().artists
    colours = [matplotlib.colors.to_hex(square.get_facecolor()) for square in squares]
    assert colours == list(COLOURS[:2])


@pytest.mark.parametrize(
    ("masks", "line"),
    [
        pytest.param({"left": LUNG, "right": ~LUNG}, "right 6,720 mL", id="another region"),
        pytest.param(
            {"left": np.where(np.arange(48)[:, None, None] < 32, LUNG, False), "sick": INFECTION},
            "sick 8.0 mL",
            id="half of the region",
        ),
        pytest.param({"lung": LUNG, "sick": LUNG & False}, "sick 0 mL", id="empty region"),
        pytest.param(
            {"lung": LUNG, "sick": LUNG}, "sick 1,920 mL, 100.0 % of lung", id="whole region"
        ),
    ],
)
def test_percentages_are_those_of_the_containing_region(
    masks: Mapping[str, np.ndarray], line: str
) -> None:
    assert texts(draw_preview(preview_data(masks)))[4] == line


def test_a_region_without_a_volume_is_named() -> None:
    assert texts(draw_preview(replace(BOTH, volumes_ml={})))[3:5] == ["lung", "infection"]


def test_warnings_are_on_one_line() -> None:
    figure = draw_preview(replace(BOTH, warnings=("spacing unknown", "lungs touch the border")))
    assert texts(figure)[-1] == "⚠ spacing unknown · lungs touch the border"
    assert not any("⚠" in text for text in texts(preview_of_both()))


def test_edges_are_labelled() -> None:
    panels = preview_of_both().axes
    letters = [
        [text.get_text() for text in axes.texts if "cm" not in text.get_text()] for axes in panels
    ]
    assert letters == [["R", "L"], ["R", "L"], ["A", "P"], ["R", "L"]]


def test_a_scale_bar_has_its_length() -> None:
    """The body is more than 190 mm wide; 5 cm fit into a third of it."""
    axes = preview_of_both().axes[0]
    (bar,) = [
        line for line in axes.lines if len(set(line.get_ydata())) == 1 and line.get_linewidth() == 2
    ]
    assert abs(float(np.subtract(*bar.get_xdata()))) == pytest.approx(50)
    assert axes.texts[-1].get_text() == "5 cm"


# Layout


def test_slices_have_the_same_scale(tmp_path: Path) -> None:
    """A millimetre has the same length along both axes and in all slices."""
    figure = draw_preview(preview_data({"lung": LUNG}, spacing_mm=(4.0, 4.0, 7.0)))
    save_png(figure, tmp_path / "preview.png")
    scales = []
    for axes in figure.axes[:3]:
        width, height = axes.get_window_extent().size
        scales += [
            width / abs(float(np.subtract(*axes.get_xlim()))),
            height / abs(float(np.subtract(*axes.get_ylim()))),
        ]
    np.testing.assert_allclose(scales, scales[0], rtol=1e-6)


def test_the_air_around_the_body_is_left_out() -> None:
    """The body is voxels 6 to 41 across; its box has a margin of two."""
    assert preview_of_both().axes[0].get_xlim() == (44 * 5, 4 * 5)


def test_a_region_outside_the_body_is_drawn() -> None:
    figure = draw_preview(preview_data({"lung": lesion(0, 34, 10, shape=SHAPE)}))
    assert figure.axes[0].get_xlim() == (44 * 5, 0)
    assert figure.axes[2].get_xlim()[0] >= 38 * 5


@pytest.mark.parametrize("panel", [0, 1])
def test_the_right_side_is_on_the_left(panel: int, tmp_path: Path) -> None:
    """The infection is on the right: its outline is left of the centre of the panel."""
    figure = preview_of_both()
    axes = figure.axes[panel]
    (line,) = axes.collections[1].get_paths()[0].to_polygons(closed_only=False)
    across = axes.transData.transform(line)[:, 0]
    assert across.max() < axes.get_window_extent().x0 + axes.get_window_extent().width / 2
    picture = pixels(figure, tmp_path)
    rows, columns = np.nonzero((np.abs(picture - (0.9, 0.62, 0)) < 0.02).all(axis=2))
    assert rows.size > 50
    assert columns.size > 50


def test_surfaces_have_the_patients_right_on_the_left() -> None:
    scene = np.asarray(preview_of_both().axes[3].images[0].get_array()).astype(int)
    _, columns = np.nonzero((scene[..., 0] > scene[..., 2] + 40) & (scene[..., 3] > 200))
    assert columns.size > 100
    assert columns.mean() < scene.shape[1] / 2


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(BOTH, id="two regions"),
        pytest.param(EMPTY, id="empty"),
        pytest.param(
            replace(
                preview_data({f"a_rather_long_name_{number}": LUNG for number in range(8)}),
                sides_ml={f"a_rather_long_name_{number}": (5, 5) for number in range(8)},
            ),
            id="eight regions",
        ),
        pytest.param(
            replace(BOTH, title="very_long_name_" * 30, warnings=("something is odd here",) * 20),
            id="long texts",
        ),
        pytest.param(preview_data({"lung": LUNG[:, :, :1]}), id="one plane"),
        pytest.param(preview_data({"lung": LUNG[:1]}), id="one column"),
    ],
)
def test_texts_neither_overlap_nor_leave_the_picture(case: PreviewData) -> None:
    figure = draw_preview(case)
    boxes = {text.get_text(): text.get_window_extent() for text in figure.texts}
    width, height = figure.bbox.size
    for words, box in boxes.items():
        assert box.x0 >= 0, words
        assert box.y0 >= 0, words
        assert box.x1 <= width, words
        assert box.y1 <= height, words
    for first, second in combinations(boxes, 2):
        assert not boxes[first].overlaps(boxes[second]), (first, second)
    for words, box in boxes.items():
        assert not any(box.overlaps(axes.bbox) for axes in figure.axes[:3]), words


# Unusual input


def test_an_empty_mask_is_reported() -> None:
    figure = draw_preview(EMPTY)
    assert "no region found" in texts(figure)
    assert texts(figure)[3:5] == ["lung 0 mL", "infection 0 mL"]
    assert [len(axes.collections) for axes in figure.axes[:3]] == [0, 0, 0]


def test_a_region_too_small_for_the_canvas_is_reported() -> None:
    figure = draw_preview(replace(EMPTY, volumes_ml={"lung": 0.2}))
    assert "too small to be drawn" in texts(figure)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((48, 40, 1), id="one plane"),
        pytest.param((48, 1, 36), id="one row"),
        pytest.param((1, 40, 36), id="one column"),
        pytest.param((1, 1, 1), id="one voxel"),
    ],
)
def test_thin_scans_are_drawn(shape: tuple[int, int, int], tmp_path: Path) -> None:
    picture = pixels(draw_preview(preview_data({"lung": np.ones(shape, bool)})), tmp_path)
    assert min(picture.shape[:2]) > 300


@pytest.mark.parametrize(
    ("title", "drawn"),
    [
        pytest.param("a_1$x_2$.nii.gz", "a_1$x_2$.nii.gz", id="not TeX"),
        pytest.param(r"\frac{1}{$", r"\frac{1}{$", id="invalid TeX"),
        pytest.param("Müller ΑΩ", "Müller ΑΩ", id="other letters"),
        pytest.param("肺.nii", "�.nii", id="letters missing in the font"),
        pytest.param("a\udcff.nii", "a�.nii", id="invalid bytes"),
        pytest.param("two\nlines\t", "two lines", id="lines"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_unusual_names_are_drawn_unchanged(title: str, drawn: str, tmp_path: Path) -> None:
    region = title or "_"
    figure = draw_preview(replace(BOTH, title=title, regions=(region, "infection"), volumes_ml={}))
    assert printable_line(title) == drawn
    assert texts(figure)[3] == printable_line(region)
    assert texts(figure)[-1] == drawn
    assert not any(text.get_parse_math() for text in figure.texts)
    save_png(figure, tmp_path / "odd.png")


def test_a_preview_needs_no_display_and_equal_previews_give_equal_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setitem(matplotlib.rcParams, "backend", "tkagg")
    for name in ("a.png", "b.png"):
        save_png(draw_preview(BOTH), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


# From the canvas to the scan


def test_the_busiest_pixel_is_in_the_last_region_that_is_not_empty() -> None:
    canvases = np.zeros((3, 6, 8, 10), bool)
    canvases[0] = True
    canvases[1, 4, 2, 3:6] = canvases[1, 3:5, 2, 5] = True
    assert busiest_pixel(canvases) == (2, 5, 4)
    assert busiest_pixel(canvases & False) == (4, 5, 3)


def test_the_voxel_of_a_pixel() -> None:
    """Voxels 10 to 29 along both axes are on 10 pixels, two per pixel."""
    placement = place_box((40, 50), ((10, 30), (10, 30)), canvas=10)
    assert scan_voxel(placement, (0, 9, 7)) in {(10, 28, 7), (11, 29, 7), (10, 29, 7)}


def test_a_pixel_of_padding_gives_the_middle() -> None:
    placement = place_box((8, 40), ((0, 8), (0, 40)), canvas=40)
    assert scan_voxel(placement, (0, 5, 0)) == (4, 5, 0)


def test_canvas_and_file_of_a_real_scan_have_the_same_volume() -> None:
    if not LCTSC.is_dir():
        pytest.skip(f"there is no {LCTSC}")
    scan, mask = (Scan(LCTSC / folder / "S1-101.nii.gz") for folder in ("scans", "masks"))
    regions = Regions({"lung": (1,)})
    placement = find_placement(scan, HU, canvas=128, crop="lungs")
    record = CaseRecord(np.zeros((1, 1, 1), np.int16), place_regions(mask, regions, placement)[0])
    canvases = np.moveaxis(record.fractions >= 128, 3, 0)
    at = scan_voxel(placement, busiest_pixel(canvases))
    slices: Any = [regions.split(slice_) for slice_ in orthogonal_slices(mask, at)]
    pixel_ml = scan.grid.voxel_ml * (placement.x.side / 128) * (placement.y.side / 128)
    volume = canvases.sum() * pixel_ml
    native = regions.split(mask.voxels()).sum()
    assert volume == pytest.approx(native * scan.grid.voxel_ml, rel=0.01)
    assert all(slice_.any() for slice_ in slices)
