"""Triangles between the points of a grid (Lorensen & Cline, Computer Graphics 1987;21:163-169).

The corner ``(i, j, k)`` of a cube, each 0 or 1, sets bit ``i + 2 j + 4 k`` of the cube's code if it
is inside. The edge along axis ``a`` has the number ``4 a + b + 2 c``, where ``b`` and ``c`` are the
positions on the other two axes. Where the corners of a face are inside on one diagonal only, both
cubes connect them in the same way, so that surfaces have no gaps.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TABLE = """
- 408 059 849945 a14 a18810 590a14 5919a198a 1b5 084b51 90bb01 1b4b84b98 4a55ab 0858b58ab
4a0a90ab9 a98ab9 268 406602 268590 269659645 82614a a16126102 68259014a 159192a126a2 268b51
260640b51 1b0b90682 b924b2642b41 b5a54a268 ab6b06026b50 82694ab9a049 926a96b9a 972 972408 052257
842472457 97214a a18108729 725205a14 572a528a215a 7291b5 408729b51 72b21b201 1b44b8b78728
4a5ab5297 972b08ab850b 2070a7ab7a04 b728b2ab8 978876 970740764 058568576 476574 97876814a
76a07a10a709 14a068056576 6a1561765 6878971b5 b51940974764 0181787681b7 41b74b647 ab4b54876897
0ab50b06a709076 0768060b7a040ab b76b6a 3a6 4083a6 3a6590 5949843a6 634431 638308310 634314905
316196986915 a6351b 3a608451b 90b01b63a 3a61841b8b98 b53563546 b53356506086 4606b0b9063b
863b8398b 3a22a8 40a03a023 3a2a82590 23a52a45a925 824214231 302103 059182312481 159219312
82a23a51b 51b43a403023 0191b92a823a 423a43492b414b9 54835823853b 3b5035230 4b904943b248423
92393b 3a6972 0843a6729 052572a63 a63872847457 143463972 729608630310 072570463143
857287815386831 972a631b5 51b3a6408729 3a6172012b71 4181b8b282b73a6 972b63b56546 3b6b56586850972
b463b6b042b7b20 863b838728b7 3a7a97a89 73a7a4974094 a807a0570a73 73a47a574 897187317481
097307103 831481873580857 731715 1b53973a9a89 0949747a4a73b51 701b71780a737a8 41b74b43a473
38973934853b354 3b5035397309 0483b7 b73 7b3 408b37 b37059 84945937b 14a7b3 0818a17b3 a149057b3
b37a598a915a 371175 371751840 907037013 987817137841 37a74a754 8a0a707507a3 37aa74794904
a379a78a9 682b37 406026b37 826b37590 7b3526456925 26814ab37 b37a26a12102 26805914ab37
6a2a12192915b37 517137826 753513602640 268390130793 913793941692964 682437547a34 a026a2a507a3a75
a34374704079268 a379a7a26a92 29339b b39329408 b35305320 45853832835b 2939b34a1 a0810a329b39
14a0b32035b0 58a15a52835b532 519129132 408529512132 032013 284124321 32a25a54a295
5329525a385058a 04a30a203 a32a28 6838b389b 640b609b036b 5b3536056806 5b3653456 a14b689b836b
69b36b60916a610 80605653635b14a 6a15616b365b 136916896195 964094936195913 368038130 364341
354a34395836389 a36950 04a30a068036 a36 7b66ba 7b6ba6084 a6b67b059 7a6ba7984594 14b47b467
108718678b17 590714674b17 167b17186915198 a61651675 4085a67561a5 67a70a01a079 19841817961a167
746754 508658756 790470674 798786 7b2b82ba8 027a07ba70a4 5907827b8ba8 2459252a4b272ba
b14b487b8278 27b12b021 2787b8b484b1590 27b12b259215 7525a2a8251a a751a5a270a4a02 7a827871a079701
79241a 482742547 502527 790470782748 792 2969a69ba 0842a629a9ba ba60b62065b0 2ba62a25b428245
9b2b424624b1 6108606b196269b b205b0b624b1b46 6285b1 5199121a2a62 95251216261a408 1a6216012
2841242a621a 629569465 629569608650 046062 628 9a8ba9 a409a0ba9 805b85a8b a45a5b b148b49b8
09b0b1 805b858148b1 b15 951a9189a 951a919409a4 1a8180 1a4 489495 509 048 -
"""
"""Code → edges of its triangles, three digits of base 12 each; ``-`` for none."""

_MOST = 5
"""Largest number of triangles of a code."""

Floats = NDArray[np.float64]

Integers = NDArray[np.int64]


@cache
def triangle_edges() -> Integers:
    """Return the edges of the triangles of each code, -1 beyond the last; shape ``(256, 5, 3)``."""
    edges = np.full((256, 3 * _MOST), -1)
    for code, digits in enumerate(_TABLE.split()):
        numbers = [int(digit, 12) for digit in digits.strip("-")]
        edges[code, : len(numbers)] = numbers
    return edges.reshape(256, _MOST, 3)


def edge_starts(edges: Integers) -> Integers:
    """Return the lower corner of each edge, in a new last axis of length 3."""
    axis, first, second = edges // 4, edges % 2, edges // 2 % 2
    starts = np.zeros((*edges.shape, 3), np.int64)
    starts[..., 0] = np.where(axis == 0, 0, first)
    starts[..., 1] = np.where(axis == 0, first, np.where(axis == 1, 0, second))
    starts[..., 2] = np.where(axis == 2, 0, second)
    return starts


def marching_cubes(field: NDArray[np.floating], level: float) -> tuple[Floats, Integers]:
    """Compute the surface where a field crosses a level.

    Args:
        field: Values at the points of a grid, three axes.
        level: Points above it are inside.

    Returns:
        Vertices in grid steps, shape ``(V, 3)``, and faces as indices of three vertices, shape
        ``(F, 3)``, clockwise seen from outside.

    Example:
        >>> field = np.zeros((3, 3, 3))
        >>> field[1, 1, 1] = 1
        >>> vertices, faces = marching_cubes(field, 0.5)
        >>> len(vertices), len(faces)
        (6, 8)
    """
    codes = cube_codes(field > level)
    cubes = np.argwhere((codes > 0) & (codes < 255))
    edges = triangle_edges()[codes[tuple(cubes.T)]]
    is_triangle = edges[:, :, 0] >= 0
    cubes = np.repeat(cubes, is_triangle.sum(axis=1), axis=0)
    edges = edges[is_triangle]
    starts = cubes[:, np.newaxis] + edge_starts(edges)
    axes = edges // 4
    keys = 3 * np.ravel_multi_index(tuple(np.moveaxis(starts, 2, 0)), field.shape) + axes
    used, faces = np.unique(keys, return_inverse=True)
    return _vertices(field, level, used), faces.reshape(-1, 3).astype(np.int64)


def cube_codes(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Encode the corners of each cube that are inside; every axis is shorter by one."""
    codes: NDArray[Any] = inside.view(np.uint8)
    for axis, bits in enumerate((1, 2, 4)):
        codes = np.moveaxis(codes, axis, 0)
        codes = np.moveaxis(codes[:-1] | (codes[1:] << bits), 0, axis)
    return codes


def _vertices(field: NDArray[np.floating], level: float, keys: Integers) -> Floats:
    """Interpolate the crossings of edges linearly."""
    start = np.stack(np.unravel_index(keys // 3, field.shape), axis=1)
    step = np.eye(3, dtype=np.int64)[keys % 3]
    low, high = (field[tuple(point.T)].astype(np.float64) for point in (start, start + step))
    return start + step * ((level - low) / (high - low))[:, np.newaxis]
