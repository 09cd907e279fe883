"""Changes that CT knows and photographs do not, as transforms of albumentations."""

from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
from albumentations.core.type_definitions import Targets
from numpy.typing import NDArray

Floats = NDArray[np.float32]

EDGE_PIXELS = 1.0
"""Standard deviation of the blur whose loss is added in sharpening."""


class LowResolution(A.ImageOnlyTransform):  # type: ignore[misc]
    """Planes resolved more coarsely: shrunk by area, brought back linearly.

    `albumentations.Downscale` would go through 8 bits, which is 5 HU of a lung window.

    Args:
        strength: Up to this share of the pixels a side are lost.
        p: Chance of a stack to be changed.
    """

    def __init__(self, strength: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> dict[str, Any]:
        """Draw how much is lost."""
        return {"lost": self.py_random.uniform(0, self.strength)}

    def apply(self, img: Floats, lost: float, **params: Any) -> Floats:
        """Shrink the planes and bring them back."""
        height, width = img.shape[:2]
        small = [max(1, round(side * (1 - lost))) for side in (width, height)]
        # One by one: OpenCV shrinks at most four channels by area.
        planes = [
            cv2.resize(
                cv2.resize(plane, small, interpolation=cv2.INTER_AREA),
                (width, height),
                interpolation=cv2.INTER_LINEAR,
            )
            for plane in np.moveaxis(img, -1, 0)
        ]
        return np.stack(planes, axis=-1)


class SharpKernel(A.ImageOnlyTransform):  # type: ignore[misc]
    """The edges of a sharp reconstruction kernel, with their overshoot: an unsharp mask.

    `albumentations.UnsharpMask` leaves flat places out by a mask, which rounding makes ragged.

    Args:
        strength: Up to this share of what a blur takes away is added.
        p: Chance of a stack to be changed.
    """

    def __init__(self, strength: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> dict[str, Any]:
        """Draw how much is added."""
        return {"added": self.py_random.uniform(0, self.strength)}

    def apply(self, img: Floats, added: float, **params: Any) -> Floats:
        """Sharpen the planes."""
        blurred = np.reshape(cv2.GaussianBlur(img, (0, 0), EDGE_PIXELS), img.shape)
        return np.clip(img + np.float32(added) * (img - blurred), 0.0, 1.0)


class MissingPlanes(A.ImageOnlyTransform):  # type: ignore[misc]
    """Neighbours that are missing: the next inner plane stands in, as at the ends of a scan.

    The middle plane, whose fractions are learnt, is never missing.

    Args:
        chance: Of each neighbour, on its own.
        p: Chance of a stack to be looked at.
    """

    def __init__(self, chance: float, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.chance = chance

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw which planes are missing."""
        missing = self.random_generator.random(params["shape"][2]) < self.chance
        return {"shown": present_planes(missing)}

    def apply(self, img: Floats, shown: NDArray[np.int64], **params: Any) -> Floats:
        """Put the planes in that stand in."""
        return img[..., shown]


class Border(A.DualTransform):  # type: ignore[misc]
    """A smaller field of view: beyond it lies air, as in scans that were padded.

    What is not seen is no region: a mask drawn on such a scan would not hold it either.

    Args:
        strength: Up to this share of the canvas is cut from each side, each on its own.
        p: Chance of a stack to be changed.
    """

    _targets = (Targets.IMAGE, Targets.MASK)

    def __init__(self, strength: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw what is seen still: rows and columns."""
        seen = []
        for side in params["shape"][:2]:
            before, after = self.random_generator.uniform(0, self.strength, size=2)
            seen.append(slice(round(before * side), side - round(after * side)))
        return {"seen": tuple(seen)}

    def apply(self, img: Floats, seen: tuple[slice, slice], **params: Any) -> Floats:
        """Keep what is seen, of planes and of fractions alike."""
        cut = np.zeros_like(img)
        cut[seen] = img[seen]
        return cut


def present_planes(missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which plane is shown in each place of a stack, where some planes are missing.

    Args:
        missing: For each plane whether it is missing, lowest first; that in the middle is not.

    Example:
        >>> present_planes(np.array([True, False, False, True, True])).tolist()
        [1, 1, 2, 2, 2]
    """
    middle = len(missing) // 2
    shown = np.arange(len(missing))
    for away in range(1, middle + 1):
        for place, inner in (
            (middle - away, middle - away + 1),
            (middle + away, middle + away - 1),
        ):
            if missing[place]:
                shown[place] = shown[inner]
    return shown
