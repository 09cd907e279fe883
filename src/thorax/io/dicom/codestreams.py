"""How large compressed pixels say they are, before a decoder takes as much memory.

JPEG 2000 and the JPEGs repeat rows and columns within the compressed stream, and decoders go by
these (ISO/IEC 15444-1, A.5.1; ISO/IEC 10918-1, B.2.2).
"""

import re
import struct
from collections.abc import Iterator

_J2K = re.compile(rb"\xff\x4f\xff\x51..(?:.{2})(.{32})(.{2})", re.DOTALL)

_JPEG = re.compile(rb"\xff\xd8\xff")

_NO_FRAME = {0xC4, 0xC8, 0xCC}

MOST_TILES = 4096


def declared_frame_sizes(content: bytes) -> Iterator[tuple[int, int] | None]:
    """Columns and rows that the compressed streams in a file tell of; None: unlikely ones.

    Example:
        >>> list(declared_frame_sizes(bytes.fromhex("ffd8fff7000b08 0028 0030 01011100")))
        [(48, 40)]
    """
    for found in _J2K.finditer(content):
        right, low, left, top, wide, high, tile_left, tile_top = struct.unpack(">8I", found[1])
        tiles = -(-right // max(wide, 1)) * -(-low // max(high, 1))
        plain = wide and high and tiles <= MOST_TILES and found[2] == b"\0\1"
        plain = plain and left <= right and top <= low and not (tile_left or tile_top)
        yield (right - left, low - top) if plain else None
    for begin in _JPEG.finditer(content):
        yield _frame_size(content, begin.start() + 2)


def _frame_size(content: bytes, place: int) -> tuple[int, int] | None:
    """Go from marker to marker to the one that tells the size."""
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        length, _, rows, columns = struct.unpack(">HBHH", content[place + 2 : place + 9])
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME):
            return columns, rows
        place += 2 + length
    return None
