"""Random damage to files, reproducible from a seed.

hypothesis and atheris do not fit: the readers are C and C++ libraries without the instrumentation
that atheris needs, and hypothesis takes longer to draw kilobytes than most readers to reject them.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

Rng = np.random.Generator
Mutate = Callable[[bytes, Rng], bytes]

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WIDE = (2**32, 2**40, 2**60, 2**63 - 1, 2**63, 2**64 - 1)
NUMBERS = (
    b"0", b"-1", b"65535", b"4294967295", b"99999999999999999999", b"1e308", b"nan", b"inf", b"",
    b"9" * 5000,
)  # fmt: skip
TOKENS = (
    b"../../../etc/passwd", b"/dev/zero", b"%s%s%n", b"LIST", b"LOCAL", b"\x00", b"\n", b"*a",
    b"&a ",
    b"!!python/object/apply:os.system [id]", b"[" * 400, b"{" * 400, b'"', b"'", b": ", b"- ", b",",
    b"2020-99-99", b"\xff\xfe", b"\xed\xa0\x80", b"=1+1", b"<script>",
)  # fmt: skip
HEAD = 400


def mutate(content: bytes, others: Sequence[bytes], rng: Rng) -> bytes:
    """Apply one to four kinds of damage."""
    for _ in range(rng.integers(1, 5)):
        way = WAYS[rng.integers(len(WAYS))]
        content = way(content, rng) if rng.random() < 0.9 else splice(content, others, rng)
    return content


def splice(content: bytes, others: Sequence[bytes], rng: Rng) -> bytes:
    """Join the start of a file and the end of another one."""
    other = others[rng.integers(len(others))]
    return content[: _place(content, rng)] + other[_place(other, rng) :]


def _place(content: bytes, rng: Rng) -> int:
    """Return a position; half of them are in the header."""
    most = len(content) if rng.random() < 0.5 else min(len(content), HEAD)
    return int(rng.integers(0, most + 1))


def _flip(content: bytes, rng: Rng) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        if changed:
            changed[min(_place(content, rng), len(changed) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, rng: Rng) -> bytes:
    return content[: _place(content, rng)]


def _remove(content: bytes, rng: Rng) -> bytes:
    start = _place(content, rng)
    return content[:start] + content[start + int(rng.integers(1, 64)) :]


def _repeat(content: bytes, rng: Rng) -> bytes:
    start = _place(content, rng)
    piece = content[start : start + int(rng.integers(1, 64))]
    return content[:start] + piece * int(rng.integers(2, 20)) + content[start:]


def _number(content: bytes, rng: Rng) -> bytes:
    """Write an extreme integer or float of any width and byte order."""
    start, width = _place(content, rng), int(2 ** rng.integers(4))
    order = "little" if rng.random() < 0.8 else "big"
    if rng.random() < 0.2 and width >= 4:
        value = (np.nan, np.inf, -1.0, 1e30, 0.0)[rng.integers(5)]
        piece = np.array(value, "<f4" if width == 4 else "<f8").tobytes()
    else:
        edges = EDGES + WIDE
        piece = (int(edges[rng.integers(len(edges))]) % 256**width).to_bytes(width, order)
    return content[:start] + piece + content[start + width :]


def _digits(content: bytes, rng: Rng) -> bytes:
    """Replace a number in digits."""
    matches = list(re.finditer(rb"-?\d+(\.\d+)?", content[:20_000]))
    if not matches:
        return content
    match = matches[rng.integers(len(matches))]
    return content[: match.start()] + NUMBERS[rng.integers(len(NUMBERS))] + content[match.end() :]


def _token(content: bytes, rng: Rng) -> bytes:
    start = _place(content, rng)
    skipped = int(rng.integers(0, 20)) if rng.random() < 0.5 else 0
    return content[:start] + TOKENS[rng.integers(len(TOKENS))] + content[start + skipped :]


WAYS: tuple[Mutate, ...] = (_flip, _cut, _remove, _repeat, _number, _number, _digits, _token)
