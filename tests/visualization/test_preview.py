"""Previews: what they tell, that they hold for any scan, and where things stand in them."""

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
from thorax.visualization.overlay import cuts
from thorax.visualization.preview import (
    PreviewData,
    SliceView,
    busiest_pixel,
    plain,
    preview,
    scan_voxel,
)

LCTSC = Path(__file__).parents[3] / "shared" / "data" / "lctsc"
AIR = -1000


def lesion(x: int, y: int, z: int, *, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask ``(X, Y, Z)`` of a block of 4×4×4 voxels from a corner on."""
    mask = np.zeros(shape, bool)
    mask[x : x + 4, y : y + 4, z : z + 4] = True
    return mask


def shown(
    masks: Mapping[str, np.ndarray], *, spacing_mm: tuple[float, float, float] = (5.0, 5.0, 5.0)
) -> PreviewData:
    """Return a preview of a body in air, whose canvas has the voxels of the scan."""
    voxels = np.stack(list(masks.values()))
    shape = voxels.shape[1:]
    hu = np.full(shape, AIR, np.int16)
    hu[shape[0] // 8 : -(shape[0] // 8) or None, shape[1] // 8 : -(shape[1] // 8) or None] = 0
    canvases = np.moveaxis(voxels, 3, 1)
    x, y, z = busiest_pixel(canvases)
    return PreviewData(
        cuts=(
            SliceView(hu[:, :, z], voxels[:, :, :, z]),
            SliceView(hu[:, y], voxels[:, :, y]),
            SliceView(hu[x], voxels[:, x]),
        ),
        at=(x, y, z),
        at_mm=(12.4, -30.0, 0.0),
        spacing_mm=spacing_mm,
        regions=tuple(masks),
        canvases=canvases,
        canvas_spacing_mm=spacing_mm,
        volumes_ml={name: mask.sum() * np.prod(spacing_mm) / 1000 for name, mask in masks.items()},
        title="scan.nii.gz",
    )


SHAPE = (48, 40, 36)
LUNG = np.zeros(SHAPE, bool)
LUNG[8:40, 10:30, 6:30] = True
INFECTION = lesion(30, 12, 20, shape=SHAPE)
BOTH = shown({"lung": LUNG, "infection": INFECTION})
EMPTY = shown({"lung": LUNG & False, "infection": LUNG & False})


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw surfaces coarsely, which takes a quarter of the time."""
    monkeypatch.setattr(thorax.visualization.render, "SUPERSAMPLING", 1)


@cache
def usual() -> Figure:
    """Return the preview of both regions, for tests that only look at it."""
    return preview(BOTH)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def pixels(figure: Figure, folder: Path) -> np.ndarray:
    save_png(figure, folder / "preview.png")
    return matplotlib.image.imread(folder / "preview.png")[..., :3]


# What is told


def test_the_legend_tells_volumes_and_shares() -> None:
    """A voxel is 0.125 mL; 32 × 20 × 24 of them are lung, 64 infection."""
    assert texts(usual()) == [
        "axial, S 0 mm",
        "coronal, P 30 mm",
        "sagittal, R 12 mm",
        "lung 1,920 mL",
        "infection 8.0 mL, 0.4 % of lung",
        "from the front",
        "scan.nii.gz",
    ]


def test_the_legend_tells_sides_where_they_are_known() -> None:
    sides = {"lung": (1000.2, 919.8), "infection": (8.0, 0.0)}
    told = texts(preview(replace(BOTH, sides_ml=sides)))
    assert "right 1,000 mL, left 920 mL" in told
    assert "right 8.0 mL, left 0 mL" in told


def test_the_legend_has_the_colours_of_the_outlines() -> None:
    squares = usual().artists
    found = [matplotlib.colors.to_hex(square.get_facecolor()) for square in squares]
    assert found == list(COLOURS[:2])


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        pytest.param(
            {"left": LUNG, "right": ~LUNG}, "right 6,720 mL", id="a region beside is no share"
        ),
        pytest.param(
            {"left": np.where(np.arange(48)[:, None, None] < 32, LUNG, False), "sick": INFECTION},
            "sick 8.0 mL",
            id="half of a region inside is no share",
        ),
        pytest.param({"lung": LUNG, "sick": LUNG & False}, "sick 0 mL", id="nothing is no share"),
        pytest.param({"lung": LUNG, "sick": LUNG}, "sick 1,920 mL, 100.0 % of lung", id="all"),
    ],
)
def test_shares_are_those_of_what_holds_a_region(
    masks: Mapping[str, np.ndarray], told: str
) -> None:
    assert texts(preview(shown(masks)))[4] == told


def test_a_region_that_was_not_measured_is_named() -> None:
    assert texts(preview(replace(BOTH, volumes_ml={})))[3:5] == ["lung", "infection"]


def test_warnings_stand_in_one_line() -> None:
    figure = preview(replace(BOTH, warnings=("spacing unknown", "lungs touch the border")))
    assert texts(figure)[-1] == "⚠ spacing unknown · lungs touch the border"
    assert not any("⚠" in text for text in texts(usual()))


def test_edges_are_named() -> None:
    panels = usual().axes
    letters = [
        [text.get_text() for text in axes.texts if "cm" not in text.get_text()] for axes in panels
    ]
    assert letters == [["R", "L"], ["R", "L"], ["A", "P"], ["R", "L"]]


def test_a_scale_bar_is_as_long_as_it_says() -> None:
    """The body is 190 mm wide and more; a third of it holds 5 cm."""
    axes = usual().axes[0]
    (bar,) = [
        line for line in axes.lines if len(set(line.get_ydata())) == 1 and line.get_linewidth() == 2
    ]
    assert abs(float(np.subtract(*bar.get_xdata()))) == pytest.approx(50)
    assert axes.texts[-1].get_text() == "5 cm"


# Where things stand


def test_planes_have_one_scale(tmp_path: Path) -> None:
    """Millimetres are as wide as high, and the same in all three planes."""
    figure = preview(shown({"lung": LUNG}, spacing_mm=(4.0, 4.0, 7.0)))
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
    """The body is voxels 6 to 41 across; the box around it has a margin of two."""
    assert usual().axes[0].get_xlim() == (44 * 5, 4 * 5)


def test_a_region_outside_the_body_is_not_left_out() -> None:
    figure = preview(shown({"lung": lesion(0, 34, 10, shape=SHAPE)}))
    assert figure.axes[0].get_xlim() == (44 * 5, 0)
    assert figure.axes[2].get_xlim()[0] >= 38 * 5


@pytest.mark.parametrize("panel", [0, 1])
def test_right_is_on_the_left(panel: int, tmp_path: Path) -> None:
    """The infection lies on the right: its outline is left of the middle of the panel."""
    figure = usual()
    axes = figure.axes[panel]
    (line,) = axes.collections[1].get_paths()[0].to_polygons(closed_only=False)
    across = axes.transData.transform(line)[:, 0]
    assert across.max() < axes.get_window_extent().x0 + axes.get_window_extent().width / 2
    picture = pixels(figure, tmp_path)
    rows, columns = np.nonzero((np.abs(picture - (0.9, 0.62, 0)) < 0.02).all(axis=2))
    assert rows.size > 50
    assert columns.size > 50


def test_surfaces_have_the_patients_right_on_the_left() -> None:
    scene = np.asarray(usual().axes[3].images[0].get_array()).astype(int)
    _, columns = np.nonzero((scene[..., 0] > scene[..., 2] + 40) & (scene[..., 3] > 200))
    assert columns.size > 100
    assert columns.mean() < scene.shape[1] / 2


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(BOTH, id="as usual"),
        pytest.param(EMPTY, id="empty"),
        pytest.param(
            replace(
                shown({f"a_rather_long_name_{number}": LUNG for number in range(8)}),
                sides_ml={f"a_rather_long_name_{number}": (5, 5) for number in range(8)},
            ),
            id="eight regions",
        ),
        pytest.param(
            replace(BOTH, title="very_long_name_" * 30, warnings=("something is odd here",) * 20),
            id="much to tell",
        ),
        pytest.param(shown({"lung": LUNG[:, :, :1]}), id="one plane"),
        pytest.param(shown({"lung": LUNG[:1]}), id="one column"),
    ],
)
def test_no_words_overlap_or_leave_the_picture(case: PreviewData) -> None:
    figure = preview(case)
    boxes = {text.get_text(): text.get_window_extent() for text in figure.texts}
    width, height = figure.bbox.size
    for words, box in boxes.items():
        assert box.x0 >= 0, words
        assert box.y0 >= 0, words
        assert box.x1 <= width, words
        assert box.y1 <= height, words
    for one, other in combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[other]), (one, other)
    for words, box in boxes.items():
        assert not any(box.overlaps(axes.bbox) for axes in figure.axes[:3]), words


# What may come


def test_an_empty_mask_is_said_to_be_empty() -> None:
    figure = preview(EMPTY)
    assert "no region was found" in texts(figure)
    assert texts(figure)[3:5] == ["lung 0 mL", "infection 0 mL"]
    assert [len(axes.collections) for axes in figure.axes[:3]] == [0, 0, 0]


def test_what_the_canvas_does_not_show_is_told() -> None:
    figure = preview(replace(EMPTY, volumes_ml={"lung": 0.2}))
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
    picture = pixels(preview(shown({"lung": np.ones(shape, bool)})), tmp_path)
    assert min(picture.shape[:2]) > 300


@pytest.mark.parametrize(
    ("title", "drawn"),
    [
        pytest.param("a_1$x_2$.nii.gz", "a_1$x_2$.nii.gz", id="not TeX"),
        pytest.param(r"\frac{1}{$", r"\frac{1}{$", id="not even broken TeX"),
        pytest.param("Müller ΑΩ", "Müller ΑΩ", id="other letters"),
        pytest.param("肺.nii", "�.nii", id="letters that the font has not"),
        pytest.param("a\udcff.nii", "a�.nii", id="bytes that are no letters"),
        pytest.param("two\nlines\t", "two lines", id="lines"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_odd_names_are_drawn_as_they_are(title: str, drawn: str, tmp_path: Path) -> None:
    region = title or "_"
    figure = preview(replace(BOTH, title=title, regions=(region, "infection"), volumes_ml={}))
    assert plain(title) == drawn
    assert texts(figure)[3] == plain(region)
    assert texts(figure)[-1] == drawn
    assert not any(text.get_parse_math() for text in figure.texts)
    save_png(figure, tmp_path / "odd.png")


def test_a_preview_needs_no_display_and_equal_ones_are_equal_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setitem(matplotlib.rcParams, "backend", "tkagg")
    for name in ("one.png", "two.png"):
        save_png(preview(BOTH), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


# From the canvas to the scan


def test_the_busiest_pixel_is_that_of_the_last_region_there() -> None:
    canvases = np.zeros((3, 6, 8, 10), bool)
    canvases[0] = True
    canvases[1, 4, 2, 3:6] = canvases[1, 3:5, 2, 5] = True
    assert busiest_pixel(canvases) == (2, 5, 4)
    assert busiest_pixel(canvases & False) == (4, 5, 3)


def test_pixels_and_voxels_by_eye() -> None:
    """Voxels 10 to 29 across and along lie on 10 pixels, two to each."""
    placement = place_box((40, 50), ((10, 30), (10, 30)), canvas=10)
    assert scan_voxel(placement, (0, 9, 7)) in {(10, 28, 7), (11, 29, 7), (10, 29, 7)}


def test_a_pixel_over_padding_shows_the_middle() -> None:
    placement = place_box((8, 40), ((0, 8), (0, 40)), canvas=40)
    assert scan_voxel(placement, (0, 5, 0)) == (4, 5, 0)


def test_canvases_of_a_real_scan_show_what_its_file_shows() -> None:
    if not LCTSC.is_dir():
        pytest.skip(f"there is no {LCTSC}")
    scan, mask = (Scan(LCTSC / folder / "S1-101.nii.gz") for folder in ("scans", "masks"))
    regions = Regions({"lung": (1,)})
    placement = find_placement(scan, HU, canvas=128, crop="lungs")
    record = CaseRecord(np.zeros((1, 1, 1), np.int16), place_regions(mask, regions, placement)[0])
    canvases = np.moveaxis(record.fractions >= 128, 3, 0)
    at = scan_voxel(placement, busiest_pixel(canvases))
    found: Any = [regions.split(cut) for cut in cuts(mask, at)]
    pixel_ml = scan.grid.voxel_ml * (placement.x.side / 128) * (placement.y.side / 128)
    volume = canvases.sum() * pixel_ml
    native = regions.split(mask.voxels()).sum()
    assert volume == pytest.approx(native * scan.grid.voxel_ml, rel=0.01)
    assert all(cut.any() for cut in found)
