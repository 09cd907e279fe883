"""Pictures of a validation case: choice of slices, title, legend and outlines."""

import numpy as np
import pytest

from thorax.preprocessing.records import CaseRecord
from thorax.training.snapshots import PANELS, most_different_planes, snapshot


def masks(differing: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction that differ in some number of pixels of each slice."""
    truth = np.zeros((len(differing), 4, 4, 1), bool)
    predicted = truth.copy()
    for plane, count in enumerate(differing):
        predicted[plane].reshape(-1)[:count] = True
    return truth, predicted


@pytest.mark.parametrize(
    ("differing", "planes"),
    [
        pytest.param([0, 1, 2, 3, 4, 5], [1, 3, 5], id="the most different of each third"),
        pytest.param([5, 4, 3, 2, 1, 0], [0, 2, 4], id="always from feet to head"),
        pytest.param([0] * 6, [0, 2, 4], id="nothing differs"),
        pytest.param([3, 1], [0, 1], id="two slices"),
        pytest.param([3], [0], id="one slice"),
    ],
)
def test_the_most_different_slices(differing: list[int], planes: list[int]) -> None:
    assert most_different_planes(*masks(differing)) == planes


def test_false_positives_and_false_negatives_count_equally() -> None:
    truth, predicted = masks([0, 2, 0, 0, 0, 0])
    assert most_different_planes(truth, predicted) == most_different_planes(predicted, truth)


def case(planes: int) -> CaseRecord:
    """Return a case of air with a bright square, the only region."""
    hu, fractions = np.full((planes, 8, 8), -1000), np.zeros((planes, 8, 8, 2))
    hu[:, 2:5, 2:5], fractions[:, 2:5, 2:5, 0] = 0, 255
    return CaseRecord(hu.astype(np.int16), fractions.astype(np.uint8))


@pytest.mark.parametrize("planes", [1, 2, 7])
def test_a_picture_has_a_title_slices_and_a_legend(planes: int) -> None:
    record = case(planes)
    figure = snapshot(record, np.zeros((planes, 8, 8, 2)), ["lung", "infection"], title="a: 0.5")
    assert len(figure.axes) == PANELS
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == min(PANELS, planes)
    assert [len(axes.collections) for axes in panels] == [1] * len(panels), "truth only"
    assert figure.get_suptitle() == "a: 0.5"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "lung, truth",
        "lung, prediction",
        "infection, truth",
        "infection, prediction",
    ]


def test_outlines_are_on_the_edges_of_the_region() -> None:
    """Pixels 2 to 4 along both axes: half-way to the pixels outside, 1.5 and 4.5."""
    record = case(1)
    figure = snapshot(record, np.zeros((1, 8, 8, 2)), ["lung", "infection"], title="")
    (outline,) = figure.axes[0].collections
    corners = np.concatenate([path.vertices for path in outline.get_paths()])
    assert corners.min(axis=0).tolist() == [1.5, 1.5]
    assert corners.max(axis=0).tolist() == [4.5, 4.5]
