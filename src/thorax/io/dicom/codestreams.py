"""Read the image size in compressed image data before a decoder allocates memory for it.

JPEG 2000 and JPEG streams repeat the number of rows and columns, and decoders rely on these
(ISO/IEC 15444-1, A.5.1; ISO/IEC 10918-1, B.2.2).
"""

import re
import struct
from collections.abc import Iterator

_J2K = re.compile(rb"\xff\x4f\xff\x51..(?:.{2})(.{32})(.{2})", re.DOTALL)

_JPEG = re.compile(rb"\xff\xd8\xff")

_NO_FRAME = {0xC4, 0xC8, 0xCC}

MAX_TILES = 4096


def declared_frame_sizes(content: bytes) -> Iterator[tuple[int, int] | None]:
    """Columns and rows that compressed streams declare; None if implausible.

    Args:
        content: The pixel data, with or without what follows them.

    Example:
        >>> list(declared_frame_sizes(bytes.fromhex("ffd8fff7000b08 0028 0030 01011100")))
        [(48, 40)]
    """
    for match in _J2K.finditer(content):
        right, bottom, left, top, width, height, *tile_origin = struct.unpack(">8I", match[1])
        tiles = -(-right // max(width, 1)) * -(-bottom // max(height, 1))
        plausible = width and height and tiles <= MAX_TILES and match[2] == b"\0\1"
        plausible = plausible and left <= right and top <= bottom and not any(tile_origin)
        yield (right - left, bottom - top) if plausible else None
    for match in _JPEG.finditer(content):
        yield _frame_size(content, match.start() + 2)


def _frame_size(content: bytes, position: int) -> tuple[int, int] | None:
    """Follow the markers to the one that contains the size."""
    while position + 9 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        length, _, rows, columns = struct.unpack(">HBHH", content[position + 2 : position + 9])
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME):
            return columns, rows
        position += 2 + length
    return None
