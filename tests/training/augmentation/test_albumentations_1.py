"""Files of albumentations 0.x and 1.x are read as they were meant."""

import json
import random
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.training.augmentation.albumentations_1.translation import is_version_1, translate
from thorax.training.augmentation.custom import check_custom, load_custom

from ...learning import augmentation

SIDE = 16
STACK = np.random.default_rng(0).random((SIDE, SIDE, 5), np.float32)
FRACTIONS = STACK[..., :2]
# As Hydrogen Torch stores it.
RESIZE = (
    '{"__version__": "1.1.0", "transform": {"__class_fullname__": "Compose", "p": 1.0, '
    '"transforms": [{"__class_fullname__": "Resize", "always_apply": true, "p": 1, '
    '"height": HEIGHT, "width": WIDTH, "interpolation": 1}], "bbox_params": null, '
    '"keypoint_params": null, "additional_targets": {}}}'
)


def node(name: str, **arguments: Any) -> dict[str, Any]:
    return {"__class_fullname__": name, **arguments}


def translated(name: str, **arguments: Any) -> dict[str, Any]:
    """Translate a transform; return its new arguments, with its class as `name`."""
    result = translate(node(name, **arguments))
    return {"name": result.pop("__class_fullname__"), **result}


def in_file(folder: Path, *transforms: dict[str, Any], version: str = "1.1.0") -> Path:
    path = folder / "custom.json"
    content = node("Compose", p=1.0, transforms=list(transforms))
    path.write_text(json.dumps({"__version__": version, "transform": content}))
    return path


def applied(path: Path, seed: int = 0) -> tuple[Any, Any]:
    compose = A.Compose([load_custom(path, canvas=SIDE)])
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
    changed = compose(image=STACK.copy(), mask=FRACTIONS.copy())
    return changed["image"], changed["mask"]


# Files


@pytest.mark.parametrize(
    ("height", "width"),
    [("16", "16"), ('"IMAGE_HEIGHT"', '"IMAGE_WIDTH"'), ("IMAGE_HEIGHT", "IMAGE_WIDTH")],
    ids=["numbers", "placeholders", "placeholders without quotes"],
)
def test_a_resize_to_the_canvas_changes_nothing(tmp_path: Path, height: str, width: str) -> None:
    path = tmp_path / "custom.json"
    path.write_text(RESIZE.replace("HEIGHT,", f"{height},").replace("WIDTH,", f"{width},"))
    changes = augmentation(custom=str(path), canvas=SIDE)
    changes.check(canvas=SIDE, channels=5, regions=2)
    stack, fractions = changes(STACK, FRACTIONS, seed=0)
    np.testing.assert_array_equal(stack, STACK)
    np.testing.assert_array_equal(fractions, FRACTIONS)


def test_a_resize_to_another_size_is_refused(tmp_path: Path) -> None:
    path = in_file(tmp_path, node("Resize", always_apply=True, p=1, height=32, width=32))
    with pytest.raises(InputError) as refused:
        check_custom(path, canvas=SIDE, channels=5, regions=2)
    assert str(refused.value) == (
        f"`augmentation.custom`: {path} must keep stacks of shape (16, 16, 5) and fractions of "
        "shape (16, 16, 2), got (32, 32, 5) and (32, 32, 2) (Resize); remove it, or set "
        "`prepare.canvas` to its size"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"__version__": "0.5.2"}, True),
        ({"__version__": "1.4.24"}, True),
        ({"__version__": "2.0.8"}, False),
        ({"transform": {"always_apply": True}}, True),
        ({"transform": {"p": 1.0}}, False),
        ([1], False),
    ],
)
def test_the_version_is_that_of_the_file_or_follows_from_its_arguments(
    content: Any, expected: bool
) -> None:
    assert is_version_1(content) is expected


def test_a_transform_that_always_applies_has_probability_1(tmp_path: Path) -> None:
    flip = node("albumentations.augmentations.transforms.HorizontalFlip", p=0.0, always_apply=True)
    path = in_file(tmp_path, flip, version="0.5.2")
    for seed in range(8):
        stack, fractions = applied(path, seed)
        np.testing.assert_array_equal(stack, STACK[:, ::-1])
        np.testing.assert_array_equal(fractions, FRACTIONS[:, ::-1])


def test_conversions_to_the_input_of_a_network_are_left_out(tmp_path: Path) -> None:
    normalise = node("Normalize", always_apply=False, p=1.0, mean=[0.5], std=[0.1])
    tensor = node("albumentations.pytorch.transforms.ToTensorV2", always_apply=True, p=1.0)
    path = in_file(tmp_path, normalise, node("ToFloat", max_value=None), tensor)
    np.testing.assert_array_equal(applied(path)[0], STACK)


# Compositions


def test_probabilities_in_a_choice_are_weights() -> None:
    children = [node("Blur", always_apply=True, p=0.2), node("MedianBlur", p=0.8)]
    choice = translate(node("OneOf", p=0.5, transforms=children))
    assert [child["p"] for child in choice["transforms"]] == [0.2, 0.8]
    assert choice["p"] == 0.5


def test_a_sequence_always_applies() -> None:
    sequence = node("Sequential", p=0.5, transforms=[node("Transpose", p=0.5)])
    assert translate(sequence) == {**sequence, "p": 1.0}
    inside = translate(node("OneOf", p=1.0, transforms=[sequence]))["transforms"]
    assert inside == [sequence]


def test_some_of_applies_everything_that_it_chooses() -> None:
    children = [node("Transpose", p=0.5), node("VerticalFlip", p=0.5)]
    some = translated("SomeOf", n=2, replace=False, p=1, transforms=children)
    certain = [{**child, "p": 1.0} for child in children]
    assert some == {
        "name": "RandomOrder", "n": 2, "replace": False, "p": 1, "transforms": certain
    }  # fmt: skip
    assert translated("SomeOf", n=2, transforms=children)["replace"] is True


def test_a_flip_is_vertical_horizontal_or_both(tmp_path: Path) -> None:
    path = in_file(tmp_path, node("Flip", always_apply=True, p=0.5))
    flips = {"vertical": STACK[::-1], "horizontal": STACK[:, ::-1], "both": STACK[::-1, ::-1]}
    counts = dict.fromkeys(flips, 0)
    for seed in range(90):
        stack, _ = applied(path, seed)
        (kind,) = [name for name, flip in flips.items() if np.array_equal(stack, flip)]
        counts[kind] += 1
    assert min(counts.values()) >= 18


# Arguments


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            node("GaussNoise", var_limit=[10.0, 50.0], mean=51, per_channel=True),
            node(
                "GaussNoise",
                std_range=[pytest.approx(10**0.5 / 255), pytest.approx(50**0.5 / 255)],
                mean_range=[0.2, 0.2],
                per_channel=True,
            ),
            id="variance in grey levels",
        ),
        pytest.param(
            node("GaussNoise", var_limit=0.04),
            node("GaussNoise", std_range=[0.0, 0.2], mean_range=[0, 0]),
            id="variance of 0..1",
        ),
        pytest.param(
            node("GaussNoise", std_range=[0.1, 0.2], mean_range=[0.0, 0.0]),
            node("GaussNoise", std_range=[0.1, 0.2], mean_range=[0.0, 0.0]),
            id="names of 1.4",
        ),
        pytest.param(
            node("RandomBrightness", limit=[-0.2, 0.2]),
            node("RandomBrightnessContrast", brightness_limit=[-0.2, 0.2], contrast_limit=[0, 0]),
            id="brightness",
        ),
        pytest.param(
            node("RandomContrast", limit=0.3),
            node("RandomBrightnessContrast", brightness_limit=[0, 0], contrast_limit=0.3),
            id="contrast",
        ),
        pytest.param(
            node("Rotate", limit=[-90, 90], value=None, mask_value=None),
            node("Rotate", limit=[-90, 90], border_mode=4, fill=0.0, mask_interpolation=1),
            id="border",
        ),
        pytest.param(
            node("Rotate", border_mode=0, value=[51, 51, 51], mask_value=1, interpolation=2),
            node(
                "Rotate",
                border_mode=0,
                fill=0.2,
                fill_mask=1,
                interpolation=2,
                mask_interpolation=2,
            ),
            id="grey border",
        ),
        pytest.param(
            node("RandomSizedCrop", min_max_height=[8, 12], height=16, width=16),
            node("RandomSizedCrop", min_max_height=[8, 12], size=[16, 16], mask_interpolation=1),
            id="size",
        ),
        pytest.param(
            node("CoarseDropout", max_holes=8, max_height=6, max_width=4, min_height=2),
            node(
                "CoarseDropout",
                num_holes_range=[8, 8],
                hole_height_range=[2, 6],
                hole_width_range=[4, 4],
            ),
            id="coarse dropout",
        ),
        pytest.param(
            node("Cutout", num_holes=3, max_h_size=6, max_w_size=4, fill_value=51),
            node(
                "CoarseDropout",
                num_holes_range=[3, 3],
                hole_height_range=[6, 6],
                hole_width_range=[4, 4],
                fill=0.2,
            ),
            id="cutout",
        ),
        pytest.param(
            node("JpegCompression", quality_lower=80, quality_upper=90),
            node("ImageCompression", quality_range=[80, 90], compression_type="jpeg"),
            id="compression",
        ),
        pytest.param(
            node("ImageCompression", quality_lower=80, compression_type=1),
            node("ImageCompression", quality_range=[80, 80], compression_type="webp"),
            id="half a range",
        ),
        pytest.param(
            node("PadIfNeeded", min_height=16, min_width=16, position="PositionType.TOP_LEFT"),
            node("PadIfNeeded", min_height=16, min_width=16, border_mode=4, position="top_left"),
            id="padding",
        ),
        pytest.param(
            node("Downscale", scale_min=0.25, scale_max=0.5, interpolation=1),
            node(
                "Downscale",
                scale_range=[0.25, 0.5],
                interpolation_pair={"upscale": 1, "downscale": 1},
            ),
            id="downscaling",
        ),
        pytest.param(
            node("Solarize", threshold=[51, 102]),
            node("Solarize", threshold_range=[0.2, 0.4]),
            id="threshold",
        ),
        pytest.param(
            node("GaussianBlur", blur_limit=[3, 7], sigma_limit=[0, 0]),
            node(
                "GaussianBlur",
                blur_limit=[3, 7],
                sigma_limit=[pytest.approx(0.8), pytest.approx(1.4)],
            ),
            id="sigma of the kernel",
        ),
        pytest.param(
            node("PiecewiseAffine", cval=0, cval_mask=0, mode="edge", keypoints_threshold=0.01),
            node("PiecewiseAffine", fill=0, fill_mask=0, border_mode=1, mask_interpolation=1),
            id="name of the border",
        ),
        pytest.param(
            node("GridDropout", unit_size_min=4, unit_size_max=8, shift_x=0, shift_y=2),
            node("GridDropout", unit_size_range=[4, 9], shift_xy=[0, 2], random_offset=False),
            id="grid",
        ),
        pytest.param(
            node("IAAAdditiveGaussianNoise", loc=0, scale=[2.55, 12.75]),
            node(
                "GaussNoise",
                std_range=[pytest.approx(0.01), pytest.approx(0.05)],
                mean_range=[0, 0],
            ),
            id="imgaug noise",
        ),
        pytest.param(node("IAAFliplr", p=0.5), node("HorizontalFlip", p=0.5), id="imgaug flip"),
        pytest.param(node("RandomRotate90"), node("RandomRotate90", p=0.5), id="old default"),
        pytest.param(node("RandomGamma", eps=None), node("RandomGamma"), id="unused"),
        pytest.param(
            node("OpticalDistortion", distort_limit=0.1, shift_limit=[-0.05, 0.05]),
            node("OpticalDistortion", distort_limit=0.1, border_mode=4, mask_interpolation=1),
            id="optical",
        ),
    ],
)
def test_arguments_are_renamed_and_converted(old: dict[str, Any], new: dict[str, Any]) -> None:
    result = translate(old)
    if result.get("fill") in (0, 0.0) and "fill" not in new:
        del result["fill"]
    assert result == new


@pytest.mark.parametrize(
    "turn",
    [
        node("Rotate", limit=[30, 30], always_apply=True),
        node(
            "ShiftScaleRotate", shift_limit_x=[0, 0], shift_limit_y=[0, 0], scale_limit=[0, 0],
            rotate_limit=[30, 30], always_apply=True,
        ),
    ],
    ids=["Rotate", "ShiftScaleRotate"],
)  # fmt: skip
def test_rotations_keep_direction_and_reflect_the_border(
    tmp_path: Path, turn: dict[str, Any]
) -> None:
    """Version 1 warped with the matrix that OpenCV returns for the angle."""
    matrix = cv2.getRotationMatrix2D((SIDE / 2 - 0.5, SIDE / 2 - 0.5), 30, 1.0)
    expected = np.stack(
        [
            cv2.warpAffine(
                np.ascontiguousarray(STACK[..., plane]), matrix, (SIDE, SIDE),
                borderMode=cv2.BORDER_REFLECT_101,
            )
            for plane in range(5)
        ],
        axis=-1,
    )  # fmt: skip
    stack, fractions = applied(in_file(tmp_path, turn))
    np.testing.assert_allclose(stack, expected, atol=1e-5)
    # OpenCV interpolates two channels in steps of 1/32 pixel.
    np.testing.assert_allclose(fractions, expected[..., :2], atol=0.03)


def test_shift_and_scale_are_those_of_the_file(tmp_path: Path) -> None:
    arguments = {"shift_limit_x": [0.25, 0.25], "shift_limit_y": [-0.5, -0.5]}
    shift = node(
        "ShiftScaleRotate", **arguments, scale_limit=[0, 0], rotate_limit=[0, 0], border_mode=0,
        always_apply=True,
    )  # fmt: skip
    stack, _ = applied(in_file(tmp_path, shift))
    np.testing.assert_allclose(stack[:8, 4:], STACK[8:, :-4], atol=1e-5)
    assert (stack[8:] == 0).all()


def test_the_affine_part_of_an_elastic_transform_is_kept(tmp_path: Path) -> None:
    elastic = {"alpha": 0, "sigma": 1, "p": 1.0}
    plain = in_file(tmp_path, node("ElasticTransform", **elastic, alpha_affine=0))
    np.testing.assert_allclose(applied(plain)[0], STACK, atol=1e-5)
    moved = in_file(tmp_path, node("ElasticTransform", **elastic, alpha_affine=3))
    results = [applied(moved, seed) for seed in range(4)]
    assert len({stack.tobytes() for stack, _ in results}) == 4
    for stack, fractions in results:
        # The same movement of slices and fractions, which were equal.
        np.testing.assert_allclose(fractions, stack[..., :2], atol=0.03)
        assert abs(stack - STACK).max() > 0.1
    check_custom(moved, canvas=SIDE, channels=5, regions=2)


def test_corners_move_by_less_than_the_limit(tmp_path: Path) -> None:
    """A centre of three points that move by up to one pixel moves by at most one pixel."""
    elastic = node("ElasticTransform", alpha=0, sigma=1, alpha_affine=1, p=1.0, border_mode=1)
    path = in_file(tmp_path, elastic)
    ramp = np.repeat(np.arange(SIDE, dtype=np.float32)[:, None, None] / 15, SIDE, axis=1)
    compose = A.Compose([load_custom(path)])
    changes = []
    for seed in range(20):
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        changed = compose(image=np.repeat(ramp, 3, axis=2))["image"]
        changes.append(15 * abs(changed - ramp)[4:13, 4:13].max())
    assert 0.2 < max(changes) < 3


# Refusals


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (
            node("Lambda", __name__="crop"),
            "Lambda has no equivalent: a file cannot contain its code; remove it",
        ),
        (
            node("PerChannel", transforms=[]),
            "PerChannel has no equivalent: all slices of a stack change together; remove it",
        ),
        (
            node("FDA", beta_limit=0.1),
            "FDA has no equivalent: a file cannot contain its reference images; remove it",
        ),
        (
            node("OpticalDistortion", shift_limit=2),
            "OpticalDistortion: shift_limit has no equivalent, got [-2, 2]; set it to 0",
        ),
        (
            node("Rotate", value=[124, 116, 104]),
            "Rotate: slices have one grey level, got the colour [124, 116, 104]; give one",
        ),
        (
            node("Rotate", mask_value=255),
            "Rotate: the mask value must be 0 or 1, because masks are fractions, got 255",
        ),
        (
            node("PiecewiseAffine", mode="linear_ramp"),
            "PiecewiseAffine: mode must be one of constant, edge, symmetric, wrap, reflect, got "
            "linear_ramp",
        ),
        (
            node("SomeOf", n=1, transforms=[node("Blur", p=0.2), node("Transpose", p=0.8)]),
            "SomeOf has no equivalent for transforms of different p, which were weights; give "
            "them one p",
        ),
        (
            node("Rotate", limits=3, always_apply=False),
            "Argument(s) 'limits' are not valid for transform Rotate",
        ),
        (node("GridMask"), "'GridMask' is unknown or missing"),
        (
            node("OneOf", transforms=[node("Blur"), node("Rotate", p=2.0)]),
            "Rotate: `p`: Input should be less than or equal to 1, got 2.0",
        ),
    ],
)
def test_what_cannot_be_translated_is_named(
    tmp_path: Path, transform: dict[str, Any], reason: str
) -> None:
    path = in_file(tmp_path, transform)
    with pytest.raises(InputError) as refused:
        load_custom(path)
    message = str(refused.value)
    assert message == (
        f"`augmentation.custom`: {path} must be a file of `albumentations.to_dict`: {reason}"
    )
