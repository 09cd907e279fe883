"""The affine part of `ElasticTransform` in albumentations 1, as a transform of version 2."""

from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
from albumentations.core.transforms_interface import BaseTransformInitSchema


class CornerShift(A.Affine):  # type: ignore[misc]
    """The affine part of `ElasticTransform` in version 1: three points move at random.

    The points are at the centre of the image plus and minus a third of its shorter side.

    Args:
        limit: Largest shift of each point along each axis, in pixels.
        interpolation: As in `albumentations.Affine`, like the arguments below.
        mask_interpolation: The same for fractions.
        border_mode: Rule for pixels beyond the border.
        fill: Their grey level with ``BORDER_CONSTANT``.
        fill_mask: Their fraction.
        p: Probability of the transform.
    """

    class InitSchema(BaseTransformInitSchema):  # type: ignore[misc]
        """The arguments."""

        limit: float
        interpolation: int
        mask_interpolation: int
        border_mode: int
        fill: float
        fill_mask: float

    def __init__(
        self,
        limit: float,
        interpolation: int = cv2.INTER_LINEAR,
        mask_interpolation: int = cv2.INTER_LINEAR,
        border_mode: int = cv2.BORDER_REFLECT_101,
        fill: float = 0.0,
        fill_mask: float = 0.0,
        p: float = 0.5,
    ) -> None:
        super().__init__(
            interpolation=interpolation,
            mask_interpolation=mask_interpolation,
            border_mode=border_mode,
            fill=fill,
            fill_mask=fill_mask,
            p=p,
        )
        self.limit = limit

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the shifts of the points."""
        height, width = params["shape"][:2]
        size = min(height, width) // 3
        corners = [(size, size), (size, -size), (-size, -size)]
        points = np.array([(height // 2, width // 2)] * 3, np.float32) + np.array(
            corners, np.float32
        )
        shifts = self.random_generator.uniform(-self.limit, self.limit, size=(3, 2))
        matrix = np.eye(3)
        matrix[:2] = cv2.getAffineTransform(points, (points + shifts).astype(np.float32))
        shared = {"bbox_matrix": matrix, "output_shape": (height, width)}
        return {"rotate": 0.0, "scale": {"x": 1.0, "y": 1.0}, "matrix": matrix, **shared}
