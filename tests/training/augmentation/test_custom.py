"""Custom transforms in files of albumentations."""

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
    """Return a function that writes transforms, or a text instead, and returns the path."""

    def write(*transforms: Any, text: str = "") -> str:
        path = tmp_path / "custom.json"
        path.write_text(text or json.dumps(A.to_dict(A.Compose(transforms))), encoding="utf-8")
        return str(path)

    return write


def test_transforms_apply_to_slices_and_fractions(save: Any) -> None:
    changes = augmentation(custom=save(A.HorizontalFlip(p=1.0)))
    stack, fractions = changes(STACK, FRACTIONS, seed=0)
    np.testing.assert_array_equal(stack, STACK[:, ::-1])
    np.testing.assert_array_equal(fractions, FRACTIONS[:, ::-1])


def test_a_single_transform_is_valid(save: Any) -> None:
    text = json.dumps(A.to_dict(A.InvertImg(p=1.0)))
    stack, fractions = augmentation(custom=save(text=text))(STACK, FRACTIONS, seed=0)
    np.testing.assert_allclose(stack, 1 - STACK, atol=1e-6)
    np.testing.assert_array_equal(fractions, FRACTIONS)


def test_custom_transforms_are_the_last_ones(save: Any) -> None:
    """Air at the sides is white after an inversion."""
    changes = augmentation(field_of_view=0.4, custom=save(A.InvertImg(p=1.0)))
    changed = [changes(0 * STACK + 0.25, FRACTIONS, seed=seed)[0] for seed in range(20)]
    assert {*np.unique(changed).tolist()} == {0.75, 1.0}


def test_the_result_depends_on_the_seed_only(save: Any) -> None:
    choice = A.OneOf([A.GaussianBlur(p=1.0), A.RandomGamma(p=1.0)], p=0.7)
    path = save(choice, A.RandomRotate90(p=0.5))
    changes, again = augmentation(custom=path), augmentation(custom=path)
    first = [changes(STACK, FRACTIONS, seed=seed)[0] for seed in range(20)]
    for seed in reversed(range(20)):
        np.testing.assert_array_equal(again(STACK, FRACTIONS, seed=seed)[0], first[seed])
    assert len({stack.tobytes() for stack in first}) > 10


def test_results_are_float32_in_0_to_1(save: Any) -> None:
    cubic = A.Rotate((20, 20), interpolation=cv2.INTER_CUBIC, mask_interpolation=cv2.INTER_CUBIC)
    changes = augmentation(custom=save(cubic, A.Normalize(mean=0.5, std=0.1, p=1.0)))
    for seed in range(8):
        for changed in changes(STACK, FRACTIONS, seed=seed):
            assert changed.dtype == np.float32
            assert changed.min() >= 0
            assert changed.max() <= 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("{", "custom.json is not valid JSON: Expecting property name", id="not JSON"),
        pytest.param("[1]", "custom.json must be a file of `albumentations.to_dict`", id="[]"),
        pytest.param("{}", "to_dict`: 'transform' is unknown or missing", id="empty"),
        pytest.param(
            '{"transform": {"__class_fullname__": "Blurr", "p": 1.0}}',
            "to_dict`: 'Blurr' is unknown or missing",
            id="unknown transform",
        ),
        pytest.param(
            '{"transform": {"__class_fullname__": "Rotate", "p": 1.0, "limits": 3}}',
            r"to_dict`: Argument\(s\) 'limits' are not valid for transform Rotate",
            id="unknown argument",
        ),
        pytest.param(
            '{"transform": {"__class_fullname__": "Rotate", "p": 2.0}}',
            "to_dict`: Rotate: `p`: Input should be less than or equal to 1, got 2.0",
            id="bad value",
        ),
    ],
)
def test_invalid_files_are_refused_in_one_line(save: Any, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        augmentation(custom=save(text=text))
    assert str(caught.value).startswith("`augmentation.custom`: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"custom`: gone\.json cannot be read: No such file"):
        augmentation(custom="gone.json")


# On stacks of the training


def test_valid_transforms_pass_the_check(save: Any) -> None:
    augmentation().check(canvas=SIDE, channels=5, regions=2)
    augmentation(custom=save(A.RandomGamma())).check(canvas=SIDE, channels=5, regions=2)


def test_transforms_must_keep_the_size_of_the_canvas(save: Any) -> None:
    changes = augmentation(custom=save(A.CenterCrop(8, 12, p=0.5)))
    with pytest.raises(
        InputError,
        match=r"custom\.json must keep stacks of shape \(16, 16, 5\) and fractions of shape "
        r"\(16, 16, 2\), got \(8, 12, 5\) and \(8, 12, 2\) \(CenterCrop\); remove it",
    ):
        changes.check(canvas=SIDE, channels=5, regions=2)


def test_transforms_for_colour_images_are_refused(save: Any) -> None:
    changes = augmentation(custom=save(A.ChannelDropout(p=1.0), A.ToSepia(p=1.0)))
    with pytest.raises(
        InputError, match=r"custom\.json fails on stacks of 5 slices \(ToSepia\): "
    ) as caught:
        changes.check(canvas=SIDE, channels=5, regions=2)
    assert "\n" not in str(caught.value)
