"""The Lovász loss: by hand, and compared with two other definitions of the extension."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.training.losses import lovasz
from thorax.training.losses.lovasz import jaccard_steps

from .examples import gradient, logits_of, maps, pixels


def cost(truth: np.ndarray, predicted: np.ndarray, *, smoothing: float = 1.0) -> float:
    """Return the loss of fractions and probabilities of one region."""
    return float(lovasz(truth, logits_of(predicted), smoothing=smoothing, over="batch")[0])


def test_the_steps_by_hand() -> None:
    """Errors 3/4, 1/2, 1/4, 0 take the Jaccard index from 3/3 to 2/3, 2/4, 1/4 and 1/5.

    3/4 · (3/3 - 2/3) + 1/2 · (2/3 - 2/4) + 1/4 · (2/4 - 1/4) = 19/48.
    """
    loss = cost(maps([[1, 1], [0, 0]]), maps([[3 / 4, 1 / 4], [1 / 2, 0]]))
    assert loss == pytest.approx(19 / 48, abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        pytest.param([[1, 1], [0, 0]], [[1, 0], [0, 0]], 1 - 2 / 3, id="1 of 2 missed"),
        pytest.param([[1, 1], [0, 0]], [[1, 1], [1, 0]], 1 - 3 / 4, id="1 too many"),
        pytest.param([[1, 1], [0, 0]], [[0, 1], [1, 0]], 1 - 2 / 4, id="1 missed, 1 too many"),
        pytest.param([[0, 0], [0, 0]], [[0, 0], [0, 0]], 0, id="both empty"),
        pytest.param([[0, 0], [0, 0]], [[1, 0], [0, 0]], 1 - 1 / 2, id="1 in an empty mask"),
        pytest.param([[1, 1], [1, 1]], [[0, 0], [0, 0]], 1 - 1 / 5, id="nothing predicted"),
    ],
)
def test_hard_masks_have_the_jaccard_loss_with_one_more_pixel(
    truth: Any, predicted: Any, expected: float
) -> None:
    assert cost(maps(truth), maps(predicted)) == pytest.approx(expected, abs=1e-6)


def test_half_a_pixel_that_is_predicted_as_a_whole() -> None:
    """The error is 1/2; half a pixel of 2.5 may be missed, half of another predicted: 1 - 2/3."""
    loss = cost(maps([[1 / 2, 1], [0, 0]]), maps([[1, 1], [0, 0]]))
    assert loss == pytest.approx(1 / 2 * 1 / 3, abs=1e-6)


def test_stacks_are_sorted_together_or_separately() -> None:
    """Errors 1 and 1/2; together 1 · (3/3 - 2/3) + 1/2 · (2/3 - 1/3), separately 1/2 and 1/4."""
    truth = np.concatenate([maps([[1, 0]]), maps([[1, 0]])])
    logits = logits_of(np.concatenate([maps([[0, 0]]), maps([[0.5, 0]])]))
    together = lovasz(truth, logits, smoothing=1.0, over="batch")
    assert np.asarray(together) == pytest.approx([1 / 2], abs=1e-6)
    separate = lovasz(truth, logits, smoothing=1.0, over="stack")
    assert np.asarray(separate) == pytest.approx([3 / 8], abs=1e-6)


def test_regions_are_sorted_separately() -> None:
    truth, predicted = maps([[1, 1]], [[0, 1]]), maps([[1, 0]], [[0, 1]])
    loss = lovasz(truth, logits_of(predicted), smoothing=1.0, over="batch")
    assert np.asarray(loss) == pytest.approx([1 / 3, 0], abs=1e-6)


# Other definitions as oracles


def jaccard_loss_of(truth: np.ndarray, wrong: np.ndarray) -> float:
    """Return ``1 - |T ∩ P| / |T ∪ P|`` for P equal to T except in the wrong pixels."""
    predicted = truth ^ wrong
    return 1 - (truth & predicted).sum() / (truth | predicted).sum()


def level_sets(truth: np.ndarray, errors: np.ndarray) -> float:
    """Return the Lovász extension as the integral of the set function over level sets."""
    levels = np.unique(np.append(errors, 0))
    return sum(
        (level - below) * jaccard_loss_of(truth, errors >= level)
        for below, level in itertools.pairwise(levels)
    )


sizes = st.integers(1, 12)


@given(st.data(), sizes)
def test_hard_truth_has_the_integral_of_the_jaccard_loss_over_level_sets(
    data: st.DataObject, size: int
) -> None:
    truth = data.draw(arrays(bool, size))
    predicted = data.draw(
        arrays(np.float64, size, elements=st.sampled_from([0.1, 0.3, 0.5, 0.8, 1]))
    )
    # The smoothing is a pixel that is true and predicted.
    expected = level_sets(np.append(truth, True), np.append(np.abs(truth - predicted), 0))
    assert cost(pixels(*truth), pixels(*predicted)) == pytest.approx(expected, abs=1e-5)


def any_order(truth: np.ndarray, errors: np.ndarray) -> float:
    """Return the largest sum over all orders: the Lovász extension of a submodular function.

    It is the support function of the base polytope, whose corners are the orders (Edmonds).
    """

    def loss_of(wrong: tuple[int, ...]) -> float:
        missed, extra = truth[list(wrong)].sum(), (1 - truth[list(wrong)]).sum()
        return 1 - (1 + truth.sum() - missed) / (1 + truth.sum() + extra)

    return max(
        sum(
            errors[pixel] * (loss_of(order[: place + 1]) - loss_of(order[:place]))
            for place, pixel in enumerate(order)
        )
        for order in itertools.permutations(range(len(truth)))
    )


@given(
    arrays(np.float64, 4, elements=st.sampled_from([0, 0.2, 0.5, 0.9, 1])),
    arrays(np.float64, 4, elements=st.sampled_from([0.05, 0.3, 0.6, 0.95])),
)
def test_soft_truth_has_the_largest_sum_over_all_orders_of_errors(
    truth: np.ndarray, predicted: np.ndarray
) -> None:
    expected = any_order(truth, np.abs(truth - predicted))
    assert cost(pixels(*truth), pixels(*predicted)) == pytest.approx(expected, abs=1e-5)


# Slopes


def test_there_is_a_kink_at_the_truth() -> None:
    """A small step up or down in any pixel, also a soft one, raises the loss."""
    truth = maps([[0.25, 0.5], [0.75, 0.5]])
    assert cost(truth, truth) == pytest.approx(0, abs=1e-6)
    for step in (-0.01, 0.01):
        for pixel in np.ndindex(2, 2):
            predicted = truth.copy()
            predicted[0, *pixel, 0] += step
            assert 0.001 < cost(truth, predicted) < 0.01


def test_the_gradient_points_to_soft_truth_from_both_sides() -> None:
    def loss(truth: Any, logits: Any) -> Any:
        return lovasz(truth, logits, smoothing=1.0, over="batch")[0]

    slopes = gradient(loss, pixels(0.5, 0.5, 0.2, 0.8), logits_of(pixels(0.6, 0.4, 0.3, 0.7)))
    assert np.sign(slopes.ravel()).tolist() == [1, -1, 1, -1]


def test_smoothing_spreads_the_gradient_over_an_absent_region() -> None:
    """Steps 2/2 - 2/3, 2/3 - 2/4 and 2/4 - 2/5 times p·(1 - p) = 3/16, 1/4 and 3/16."""

    def loss(truth: Any, logits: Any) -> Any:
        return lovasz(truth, logits, smoothing=2.0, over="batch")[0]

    slopes = gradient(loss, pixels(0, 0, 0), logits_of(pixels(3 / 4, 1 / 2, 1 / 4)))
    assert slopes.ravel() == pytest.approx([1 / 3 * 3 / 16, 1 / 6 / 4, 1 / 10 * 3 / 16], rel=1e-4)


def test_the_steps_of_a_large_map_keep_their_digits() -> None:
    """Differences of Jaccard indices of 131,072 pixels would lose the last steps completely."""
    truth = np.random.default_rng(0).random(131_072)
    intersection = 1 + truth.sum() - np.append(0, np.cumsum(truth))
    union = 1 + truth.sum() + np.append(0, np.cumsum(1 - truth))
    steps = jaccard_steps(truth.astype(np.float32), smoothing=1.0)
    np.testing.assert_allclose(steps, -np.diff(intersection / union), rtol=2e-3)
