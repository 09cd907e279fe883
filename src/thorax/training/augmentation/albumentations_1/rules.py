"""Renamed classes, arguments and defaults of albumentations 1."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2

from thorax.training.augmentation.albumentations_1 import values
from thorax.training.augmentation.albumentations_1.values import Arguments


@dataclass(frozen=True)
class Rule:
    """Translation of one class.

    Args:
        name: New name of the class; empty if it is the same.
        names: Old name → new name of arguments.
        ranges: New argument → the old arguments of its two ends.
        defaults: Old defaults of arguments, by old name, where version 2 has others.
        dropped: Old arguments without effect on stacks.
        convert: Function that changes the arguments in other ways.
    """

    name: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    dropped: Sequence[str] = ()
    convert: Callable[[Arguments], None] | None = None


_FILL = {"value": "fill", "mask_value": "fill_mask"}
_FILL_VALUE = {"fill_value": "fill", "mask_fill_value": "fill_mask"}
_CVAL = {"cval": "fill", "cval_mask": "fill_mask", "mode": "border_mode"}
_PAD_CVAL = {"pad_cval": "fill", "pad_cval_mask": "fill_mask", "pad_mode": "border_mode"}
_PAD_VAL = {"pad_val": "fill", "mask_pad_val": "fill_mask", "pad_mode": "border_mode"}

_REFLECTED = {"border_mode": cv2.BORDER_REFLECT_101}

_AROUND = Rule(names=_FILL, defaults=_REFLECTED, convert=values.fill)

RULES = {
    "Affine": Rule(names=_CVAL, convert=values.affine),
    "AdvancedBlur": Rule(names={"sigmaX_limit": "sigma_x_limit", "sigmaY_limit": "sigma_y_limit"}),
    "ChannelDropout": Rule(names=_FILL_VALUE, convert=values.fill),
    "CoarseDropout": Rule(names=_FILL_VALUE, convert=values.holes),
    "CropAndPad": Rule(names=_PAD_CVAL, convert=values.border),
    "Cutout": Rule("CoarseDropout", names=_FILL_VALUE, convert=values.cutout),
    "Downscale": Rule(
        names={"interpolation": "interpolation_pair"},
        ranges={"scale_range": ("scale_min", "scale_max")},
        convert=values.downscale,
    ),
    "ElasticTransform": Rule(
        names=_FILL,
        defaults={**_REFLECTED, "noise_distribution": "uniform"},
        convert=values.fill,
    ),
    "GaussNoise": Rule(defaults={"var_limit": [10, 50], "mean": 0}, convert=values.noise),
    "GaussianBlur": Rule(defaults={"blur_limit": [3, 7], "sigma_limit": 0}, convert=values.blur),
    "GridDistortion": Rule(
        names=_FILL, defaults={**_REFLECTED, "normalized": False}, convert=values.fill
    ),
    "GridDropout": Rule(
        names=_FILL_VALUE, defaults={"random_offset": False}, convert=values.grid_holes
    ),
    "IAAAdditiveGaussianNoise": Rule("GaussNoise", convert=values.imgaug_noise),
    "IAAAffine": Rule("Affine", names=_CVAL, convert=values.image_augmenter),
    "IAACropAndPad": Rule("CropAndPad", names=_PAD_CVAL, convert=values.image_augmenter),
    "IAAEmboss": Rule("Emboss"),
    "IAAFliplr": Rule("HorizontalFlip"),
    "IAAFlipud": Rule("VerticalFlip"),
    "IAAPerspective": Rule("Perspective"),
    "IAAPiecewiseAffine": Rule("PiecewiseAffine", names=_CVAL, convert=values.image_augmenter),
    "IAASharpen": Rule("Sharpen"),
    "IAASuperpixels": Rule("Superpixels"),
    "ImageCompression": Rule(
        ranges={"quality_range": ("quality_lower", "quality_upper")}, convert=values.compression
    ),
    "JpegCompression": Rule(
        "ImageCompression",
        ranges={"quality_range": ("quality_lower", "quality_upper")},
        convert=values.compression,
    ),
    "MaskDropout": Rule(
        names={"image_fill_value": "fill", "mask_fill_value": "fill_mask"}, convert=values.fill
    ),
    "OpticalDistortion": Rule(names=_FILL, defaults=_REFLECTED, convert=values.optical),
    "PadIfNeeded": Rule(names=_FILL, defaults=_REFLECTED, convert=values.position),
    "Perspective": Rule(names=_PAD_VAL, convert=values.border),
    "PiecewiseAffine": Rule(names=_CVAL, dropped=("keypoints_threshold",), convert=values.border),
    "RandomBrightness": Rule(
        "RandomBrightnessContrast", names={"limit": "brightness_limit"}, convert=values.brightness
    ),
    "RandomContrast": Rule(
        "RandomBrightnessContrast", names={"limit": "contrast_limit"}, convert=values.contrast
    ),
    "RandomCropNearBBox": Rule(names={"cropping_box_key": "cropping_bbox_key"}),
    "RandomFog": Rule(ranges={"fog_coef_range": ("fog_coef_lower", "fog_coef_upper")}),
    "RandomGamma": Rule(dropped=("eps",)),
    "RandomRain": Rule(ranges={"slant_range": ("slant_lower", "slant_upper")}),
    "RandomResizedCrop": Rule(convert=values.size),
    "RandomRotate90": Rule(defaults={"p": 0.5}),
    "RandomShadow": Rule(ranges={"num_shadows_limit": ("num_shadows_lower", "num_shadows_upper")}),
    "RandomSizedCrop": Rule(convert=values.size),
    "RandomSnow": Rule(ranges={"snow_point_range": ("snow_point_lower", "snow_point_upper")}),
    "RandomSunFlare": Rule(
        ranges={
            "angle_range": ("angle_lower", "angle_upper"),
            "num_flare_circles_range": ("num_flare_circles_lower", "num_flare_circles_upper"),
        }
    ),
    "Rotate": _AROUND,
    "SafeRotate": _AROUND,
    "ShiftScaleRotate": Rule(
        "Affine", names=_FILL, defaults=_REFLECTED, convert=values.shift_scale_rotate
    ),
    "Solarize": Rule(convert=values.threshold),
    "UnsharpMask": Rule(convert=values.blur),
}
