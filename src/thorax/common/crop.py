"""Names of the crops, apart from the parameters, whose import takes long."""

from typing import Literal

Crop = Literal["lungs", "body", "none"]
"""Crop of the slices before they are scaled to the canvas: box around lungs or body, or none."""
