"""Conversions of the values of arguments from albumentations 1 to version 2."""

import math
from collections.abc import Sequence
from typing import Any

Arguments = dict[str, Any]

_WHITE = 255.0

_BORDERS = {"constant": 0, "edge": 1, "symmetric": 2, "wrap": 3, "reflect": 4}


class TranslationError(ValueError):
    """A transform or an argument that has no equivalent in version 2."""


def _share(value: Any) -> Any:
    """Convert grey levels above 1, which are of 8-bit images, to 0..1.

    Example:
        >>> _share([51, 255])
        [0.2, 1.0]
    """
    if isinstance(value, list | tuple):
        largest = max(map(abs, value), default=0)
        return [number / _WHITE for number in value] if largest > 1 else list(value)
    return value / _WHITE if abs(value) > 1 else value


def fill(arguments: Arguments) -> None:
    """Convert the values beyond the border: one grey level, and no or a whole region."""
    grey = arguments.get("fill")
    if isinstance(grey, list | tuple):
        if len(set(grey)) > 1:
            raise TranslationError(f"slices have one grey level, got the colour {grey}; give one")
        grey = grey[0] if grey else 0
    if "fill" in arguments:
        arguments["fill"] = 0.0 if grey is None else _share(grey)
    region = arguments.get("fill_mask")
    if region not in (None, 0, 1):
        raise TranslationError(
            f"the mask value must be 0 or 1, because masks are fractions, got {region}"
        )


def noise(arguments: Arguments) -> None:
    """Convert variance to standard deviation: σ = √variance, as a share of the largest value."""
    variances, mean = _ends(arguments.pop("var_limit")), arguments.pop("mean")
    deviations = _share_of_noise([math.sqrt(variance) for variance in variances])
    # Version 1.4 already wrote these names.
    arguments.setdefault("std_range", deviations)
    arguments.setdefault("mean_range", _share([mean, mean]))


def _share_of_noise(deviations: Sequence[float]) -> list[float]:
    return _share([min(deviation, _WHITE) for deviation in deviations])


def blur(arguments: Arguments) -> None:
    """Compute σ from the size of the kernel, as OpenCV does if σ is 0."""
    low, high = _ends(arguments.get("sigma_limit", 0))
    sizes = _ends(arguments.get("blur_limit", [3, 7]), low=3)
    if low == high == 0 and min(sizes) > 0:
        arguments["sigma_limit"] = [0.3 * ((size - 1) / 2 - 1) + 0.8 for size in sizes]


def _ends(limits: Any, *, low: float = 0) -> list[float]:
    return list(limits) if isinstance(limits, list | tuple) else [low, limits]


def imgaug_noise(arguments: Arguments) -> None:
    """Convert the standard deviation and the mean of `IAAAdditiveGaussianNoise`."""
    arguments["std_range"] = _share_of_noise(_ends(arguments.pop("scale", [2.55, 12.75])))
    loc = arguments.pop("loc", 0)
    arguments["mean_range"] = _share([loc, loc])


def shift_scale_rotate(arguments: Arguments) -> None:
    """Convert the arguments of `ShiftScaleRotate` to those of `Affine`."""
    shift = arguments.pop("shift_limit", 0.0625)
    x, y = (arguments.pop(f"shift_limit_{axis}", None) for axis in "xy")
    low, high = _symmetric(arguments.pop("scale_limit", 0.1))
    arguments["translate_percent"] = {
        "x": _symmetric(shift if x is None else x),
        "y": _symmetric(shift if y is None else y),
    }
    arguments["scale"] = [1 + low, 1 + high]
    arguments["rotate"] = _symmetric(arguments.pop("rotate_limit", 45))
    arguments["keep_ratio"] = True
    fill(arguments)


def _symmetric(limit: Any) -> list[float]:
    return list(limit) if isinstance(limit, list | tuple) else [-limit, limit]


def affine(arguments: Arguments) -> None:
    """Convert the border and the direction of shear; without arguments there were defaults."""
    names = ("scale", "translate_percent", "translate_px", "rotate", "shear")
    if all(arguments.get(name) is None for name in names):
        arguments.update(scale=[0.9, 1.1], translate_percent=[-0.1, 0.1], rotate=[-15, 15])
        arguments["shear"] = {"x": [-10, 10], "y": [-10, 10]}
    if isinstance(arguments.get("shear"), dict):
        x = _ends(arguments["shear"].get("x", 0))
        # Along x the positive direction is the opposite one.
        arguments["shear"] = arguments["shear"] | {"x": [-x[1], -x[0]]}
    border(arguments)


def border(arguments: Arguments) -> None:
    """Convert the name of a border mode, as in scikit-image, to its number in OpenCV."""
    mode = arguments.get("border_mode")
    if isinstance(mode, str):
        if mode not in _BORDERS:
            raise TranslationError(f"mode must be one of {', '.join(_BORDERS)}, got {mode}")
        arguments["border_mode"] = _BORDERS[mode]
    fill(arguments)


def optical(arguments: Arguments) -> None:
    """Remove the shift of the centre, which had no effect if it was small."""
    shift = _symmetric(arguments.pop("shift_limit", 0))
    # Version 1 rounded the shift of the centre to whole pixels.
    if max(map(abs, shift)) > 0.5:
        raise TranslationError(f"shift_limit has no equivalent, got {shift}; set it to 0")
    fill(arguments)


def holes(arguments: Arguments) -> None:
    """Convert the numbers and sizes of holes to ranges."""
    for new, key in (
        ("num_holes_range", "holes"),
        ("hole_height_range", "height"),
        ("hole_width_range", "width"),
    ):
        low, high = arguments.pop(f"min_{key}", None), arguments.pop(f"max_{key}", None)
        if high is not None or new not in arguments:
            high = 8 if high is None else high
            arguments[new] = [high if low is None else low, high]
    fill(arguments)


def cutout(arguments: Arguments) -> None:
    """Convert the number and the size of holes, which had no range."""
    for new, key in (
        ("num_holes_range", "num_holes"),
        ("hole_height_range", "max_h_size"),
        ("hole_width_range", "max_w_size"),
    ):
        arguments[new] = [arguments.pop(key, 8)] * 2
    fill(arguments)


def grid_holes(arguments: Arguments) -> None:
    """Convert pairs of arguments of `GridDropout`."""
    for new, keys in (
        ("unit_size_range", ("unit_size_min", "unit_size_max")),
        ("holes_number_xy", ("holes_number_x", "holes_number_y")),
        ("shift_xy", ("shift_x", "shift_y")),
    ):
        values = [arguments.pop(key, None) for key in keys]
        if None not in values:
            arguments[new] = values
    if "unit_size_range" in arguments:
        low, high = arguments["unit_size_range"]
        arguments["unit_size_range"] = [low, high + 1]  # version 2 draws less than the end
    fill(arguments)


def size(arguments: Arguments) -> None:
    """Convert height and width to one argument."""
    if "size" not in arguments and {"height", "width"} <= arguments.keys():
        arguments["size"] = [arguments.pop("height"), arguments.pop("width")]


def downscale(arguments: Arguments) -> None:
    """Convert one interpolation to one for each direction."""
    interpolation = arguments.get("interpolation_pair", 0)
    if not isinstance(interpolation, dict):
        number = interpolation or 0
        arguments["interpolation_pair"] = {"upscale": number, "downscale": number}


def threshold(arguments: Arguments) -> None:
    """Convert the threshold of `Solarize` to a range of shares."""
    level = arguments.pop("threshold", 128)
    if "threshold_range" not in arguments:
        ends = level if isinstance(level, list | tuple) else [level, level]
        arguments["threshold_range"] = _share(list(ends))


def brightness(arguments: Arguments) -> None:
    """Keep the contrast."""
    arguments["contrast_limit"] = [0, 0]


def contrast(arguments: Arguments) -> None:
    """Keep the brightness."""
    arguments["brightness_limit"] = [0, 0]


def compression(arguments: Arguments) -> None:
    """Convert the number of the format to its name."""
    kind = arguments.get("compression_type", 0)
    arguments["compression_type"] = {0: "jpeg", 1: "webp"}.get(kind, kind)


def position(arguments: Arguments) -> None:
    """Convert the name of the position, which may contain that of its enumeration."""
    if isinstance(arguments.get("position"), str):
        arguments["position"] = arguments["position"].rpartition(".")[2].lower()
    fill(arguments)


def image_augmenter(arguments: Arguments) -> None:
    """Convert the interpolation order and the border mode of classes of imgaug."""
    order = arguments.pop("order", None)
    if order is not None:
        arguments["interpolation"] = {0: 0, 1: 1, 3: 2}.get(order, 1)
    border(arguments)
