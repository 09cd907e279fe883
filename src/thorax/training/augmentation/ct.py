"""CT-specific transforms for albumentations."""

from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
from albumentations.core.type_definitions import Targets
from numpy.typing import NDArray

Floats = NDArray[np.float32]

EDGE_PIXELS = 1.0
"""Standard deviation of the blur for sharpening."""


class LowResolution(A.ImageOnlyTransform):  # type: ignore[misc]
    """Simulates a lower resolution: downsamples by area, then upsamples linearly.

    `albumentations.Downscale` would round to 8 bits, which is 5 HU in a lung window.

    Args:
        strength: Largest share of the pixels per side that is lost.
        p: Probability of the transform.
    """

    def __init__(self, strength: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> dict[str, Any]:
        """Draw the share that is lost."""
        return {"lost": self.py_random.uniform(0, self.strength)}

    def apply(self, img: Floats, lost: float, **params: Any) -> Floats:
        """Downsample and upsample the slices."""
        height, width = img.shape[:2]
        small = [max(1, round(side * (1 - lost))) for side in (width, height)]
        # Slice by slice: OpenCV downsamples at most four channels by area.
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
    """Simulates a sharp reconstruction kernel with overshooting edges: an unsharp mask.

    `albumentations.UnsharpMask` excludes flat areas with a mask, which has ragged edges.

    Args:
        strength: Largest factor of the difference between a stack and its blurred version.
        p: Probability of the transform.
    """

    def __init__(self, strength: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> dict[str, Any]:
        """Draw the factor."""
        return {"added": self.py_random.uniform(0, self.strength)}

    def apply(self, img: Floats, added: float, **params: Any) -> Floats:
        """Sharpen the slices."""
        blurred = np.reshape(cv2.GaussianBlur(img, (0, 0), EDGE_PIXELS), img.shape)
        return np.clip(img + np.float32(added) * (img - blurred), 0.0, 1.0)


class MissingPlanes(A.ImageOnlyTransform):  # type: ignore[misc]
    """Replaces neighbouring slices by the next inner slice, as at the ends of a scan.

    The centre slice, whose regions are learnt, is never replaced.

    Args:
        chance: Probability for each neighbour, independently.
        p: Probability of the transform.
    """

    def __init__(self, chance: float, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.chance = chance

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the missing slices."""
        missing = self.random_generator.random(params["shape"][2]) < self.chance
        return {"indices": present_planes(missing)}

    def apply(self, img: Floats, indices: NDArray[np.int64], **params: Any) -> Floats:
        """Replace the missing slices."""
        return img[..., indices]


class ReducedFieldOfView(A.DualTransform):  # type: ignore[misc]
    """Simulates a smaller field of view, surrounded by air as in padded scans.

    Regions end at the field of view, too, as they would in a mask that was drawn on such a scan.

    Args:
        strength: Largest share of the canvas that is removed on each side, independently.
        p: Probability of the transform.
    """

    _targets = (Targets.IMAGE, Targets.MASK)

    def __init__(self, strength: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the rows and columns of the field of view."""
        inside = []
        for side in params["shape"][:2]:
            before, after = self.random_generator.uniform(0, self.strength, size=2)
            inside.append(slice(round(before * side), side - round(after * side)))
        return {"inside": tuple(inside)}

    def apply(self, img: Floats, inside: tuple[slice, slice], **params: Any) -> Floats:
        """Set slices and fractions to 0 outside of the field of view."""
        reduced = np.zeros_like(img)
        reduced[inside] = img[inside]
        return reduced


def present_planes(missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the index of the slice at each position of a stack with missing slices.

    Args:
        missing: True for missing slices, lowest first; False for the centre slice.

    Example:
        >>> present_planes(np.array([True, False, False, True, True])).tolist()
        [1, 1, 2, 2, 2]
    """
    centre = len(missing) // 2
    indices = np.arange(len(missing))
    for distance in range(1, centre + 1):
        for position, inner in (
            (centre - distance, centre - distance + 1),
            (centre + distance, centre + distance - 1),
        ):
            if missing[position]:
                indices[position] = indices[inner]
    return indices
