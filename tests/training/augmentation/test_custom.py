"""The user's own changes, as albumentations writes them."""

import json
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
import pytest

from thorax.common.errors import InputError

from ...learning import augmentation

SIDE = 16
STACK = np.random.default_rng(0).random((SIDE, SIDE, 5), np.float32)
FRACTIONS = STACK[..., :2]


@pytest.fixture
def save(tmp_path: Path) -> Any:
    """Return a function that writes transforms, or what is said instead, and returns the path."""

    def write(*transforms: Any, text: str = "") -> str:
        path = tmp_path / "own.json"
        path.write_text(text or json.dumps(A.to_dict(A.Compose(transforms))), encoding="utf-8")
        return str(path)

    return write


def test_what_was_written_is_what_happens_to_planes_and_fractions(save: Any) -> None:
    changes = augmentation(custom=save(A.HorizontalFlip(p=1.0)))
    stack, fractions = changes(STACK, FRACTIONS, seed=0)
    np.testing.assert_array_equal(stack, STACK[:, ::-1])
    np.testing.assert_array_equal(fractions, FRACTIONS[:, ::-1])


def test_a_single_transform_will_do(save: Any) -> None:
    text = json.dumps(A.to_dict(A.InvertImg(p=1.0)))
    stack, fractions = augmentation(custom=save(text=text))(STACK, FRACTIONS, seed=0)
    np.testing.assert_allclose(stack, 1 - STACK, atol=1e-6)
    np.testing.assert_array_equal(fractions, FRACTIONS)


def test_it_comes_after_all_else(save: Any) -> None:
    """Air at the sides is white where the user's own inversion comes last."""
    changes = augmentation(field_of_view=0.4, custom=save(A.InvertImg(p=1.0)))
    changed = [changes(0 * STACK + 0.25, FRACTIONS, seed=seed)[0] for seed in range(20)]
    assert {*np.unique(changed).tolist()} == {0.75, 1.0}


def test_the_seed_alone_decides(save: Any) -> None:
    own = A.OneOf([A.GaussianBlur(p=1.0), A.RandomGamma(p=1.0)], p=0.7)
    path = save(own, A.RandomRotate90(p=0.5))
    one, other = augmentation(custom=path), augmentation(custom=path)
    first = [one(STACK, FRACTIONS, seed=seed)[0] for seed in range(20)]
    for seed in reversed(range(20)):
        np.testing.assert_array_equal(other(STACK, FRACTIONS, seed=seed)[0], first[seed])
    assert len({stack.tobytes() for stack in first}) > 10


def test_results_lie_in_0_to_1_as_float32(save: Any) -> None:
    cubic = A.Rotate((20, 20), interpolation=cv2.INTER_CUBIC, mask_interpolation=cv2.INTER_CUBIC)
    changes = augmentation(custom=save(cubic, A.Normalize(mean=0.5, std=0.1, p=1.0)))
    for seed in range(8):
        for changed in changes(STACK, FRACTIONS, seed=seed):
            assert changed.dtype == np.float32
            assert changed.min() >= 0
            assert changed.max() <= 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("{", "own.json is not valid JSON: Expecting property name", id="no JSON"),
        pytest.param("[1]", "own.json does not hold what `albumentations.to_dict` writes", id="[]"),
        pytest.param("{}", "writes: 'transform' is unknown or missing", id="empty"),
        pytest.param(
            '{"transform": {"__class_fullname__": "Blurr", "p": 1.0}}',
            "writes: 'Blurr' is unknown or missing",
            id="unknown transform",
        ),
        pytest.param(
            '{"transform": {"__class_fullname__": "Rotate", "p": 1.0, "limits": 3}}',
            r"writes: Argument\(s\) 'limits' are not valid for transform Rotate",
            id="unknown argument",
        ),
        pytest.param(
            '{"transform": {"__class_fullname__": "Rotate", "p": 2.0}}',
            "writes: 1 validation error for InitSchema p Input should be less than or equal to 1",
            id="bad value",
        ),
    ],
)
def test_files_that_say_nothing_of_use_are_refused_in_one_line(
    save: Any, text: str, why: str
) -> None:
    with pytest.raises(InputError, match=why) as caught:
        augmentation(custom=save(text=text))
    assert str(caught.value).startswith("`augmentation.custom`: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"custom`: gone\.json cannot be read: No such file"):
        augmentation(custom="gone.json")


# On stacks of the training


def test_what_works_passes_the_check(save: Any) -> None:
    augmentation().check(canvas=SIDE, channels=5, regions=2)
    augmentation(custom=save(A.RandomGamma())).check(canvas=SIDE, channels=5, regions=2)


def test_the_size_of_the_canvas_must_be_kept(save: Any) -> None:
    changes = augmentation(custom=save(A.CenterCrop(8, 12, p=0.5)))
    with pytest.raises(
        InputError,
        match=r"own\.json must keep stacks of shape \(16, 16, 5\) and fractions of shape "
        r"\(16, 16, 2\), but gives \(8, 12, 5\) and \(8, 12, 2\)",
    ):
        changes.check(canvas=SIDE, channels=5, regions=2)


def test_changes_of_colour_photographs_are_refused(save: Any) -> None:
    changes = augmentation(custom=save(A.ChannelDropout(p=1.0), A.ToSepia(p=1.0)))
    with pytest.raises(InputError, match=r"own\.json fails on stacks of 5 planes: ") as caught:
        changes.check(canvas=SIDE, channels=5, regions=2)
    assert "\n" not in str(caught.value)
