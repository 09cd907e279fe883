"""Variation of patients and scanners beyond plain chests: protocols, exports, copies of scans."""

from thorax.phantom.scans.protocols import draw_varied_protocol
from thorax.phantom.scans.reconstruction import acquire_varied

__all__ = ["acquire_varied", "draw_varied_protocol"]
