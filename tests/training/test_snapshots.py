"""Pictures of a watched case: which planes they show, and that they can be drawn of anything."""

import numpy as np
import pytest

from thorax.preprocessing.records import CaseRecord
from thorax.training.snapshots import PANELS, snapshot, telling_planes


def masks(differing: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction that differ in so many pixels of each plane."""
    truth = np.zeros((len(differing), 4, 4, 1), bool)
    found = truth.copy()
    for plane, count in enumerate(differing):
        found[plane].reshape(-1)[:count] = True
    return truth, found


@pytest.mark.parametrize(
    ("differing", "planes"),
    [
        pytest.param([0, 1, 2, 3, 4, 5], [1, 3, 5], id="the worst of each third"),
        pytest.param([5, 4, 3, 2, 1, 0], [0, 2, 4], id="from feet to head all the same"),
        pytest.param([0] * 6, [0, 2, 4], id="nothing differs"),
        pytest.param([3, 1], [0, 1], id="two planes"),
        pytest.param([3], [0], id="one plane"),
    ],
)
def test_planes_that_differ_most(differing: list[int], planes: list[int]) -> None:
    assert telling_planes(*masks(differing)) == planes


def test_too_much_and_too_little_count_alike() -> None:
    truth, found = masks([0, 2, 0, 0, 0, 0])
    assert telling_planes(truth, found) == telling_planes(found, truth)


def case(planes: int) -> CaseRecord:
    """Return air with a bright square that is the only region."""
    hu, fractions = np.full((planes, 8, 8), -1000), np.zeros((planes, 8, 8, 2))
    hu[:, 2:5, 2:5], fractions[:, 2:5, 2:5, 0] = 0, 255
    return CaseRecord(hu.astype(np.int16), fractions.astype(np.uint8))


@pytest.mark.parametrize("planes", [1, 2, 7])
def test_a_picture_has_its_title_its_planes_and_its_legend(planes: int) -> None:
    record = case(planes)
    figure = snapshot(record, np.zeros((planes, 8, 8, 2)), ["lung", "infection"], title="a: 0.5")
    assert len(figure.axes) == PANELS
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == min(PANELS, planes)
    assert [len(axes.collections) for axes in shown] == [1] * len(shown), "truth alone"
    assert figure.get_suptitle() == "a: 0.5"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "lung, truth",
        "lung, prediction",
        "infection, truth",
        "infection, prediction",
    ]


def test_outlines_lie_on_the_edges_of_what_they_outline() -> None:
    """Pixels 2 to 4 along both axes: half-way to the pixels outside, 1.5 and 4.5."""
    record = case(1)
    figure = snapshot(record, np.zeros((1, 8, 8, 2)), ["lung", "infection"], title="")
    (outline,) = figure.axes[0].collections
    corners = np.concatenate([path.vertices for path in outline.get_paths()])
    assert corners.min(axis=0).tolist() == [1.5, 1.5]
    assert corners.max(axis=0).tolist() == [4.5, 4.5]
