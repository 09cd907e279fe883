"""JPEG Lossless: streams of an encoder that follows the standard pixel by pixel, and of ITK."""

import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from thorax.io.dicom.jpeg_lossless import decode, decode_frame

CODES = {category: f"{category:05b}" for category in range(17)}
"""Codes of 5 bits, one per category."""

TABLE = b"\x00" + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))


def predicted(image: Any, row: int, column: int, *, predictor: int, bits: int, first: int) -> int:
    """Predict a pixel by ITU-T T.81, H.1.2.1; `first` is the first row since a restart."""
    left, above, corner = (
        int(image[row, column - 1]),
        int(image[row - 1, column]),
        int(image[row - 1, column - 1]),
    )
    if row == first:
        return left if column else 2 ** (bits - 1)
    if not column:
        return above
    return {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor]


def code(difference: int) -> str:
    """Encode a difference by H.1.2.2."""
    difference = (difference + 2**15 - 1) % 2**16 - 2**15 + 1
    category = abs(difference).bit_length()
    if category == 16:
        return CODES[16]
    value = difference if difference >= 0 else difference + 2**category - 1
    return CODES[category] + (f"{value:0{category}b}" if category else "")


def packed(bits: str) -> bytes:
    filled = bits + "1" * (-len(bits) % 8)
    content = bytes(int(filled[at : at + 8], 2) for at in range(0, len(filled), 8))
    return content.replace(b"\xff", b"\xff\x00")


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def encode(image: Any, *, predictor: int = 1, bits: int = 16, restart_rows: int = 0) -> bytes:
    rows, columns = image.shape
    step = restart_rows or rows
    parts = []
    for first in range(0, rows, step):
        differences = [
            int(image[row, column])
            - predicted(image, row, column, predictor=predictor, bits=bits, first=first)
            for row in range(first, min(first + step, rows))
            for column in range(columns)
        ]
        parts.append(packed("".join(map(code, differences))))
    coded = parts[0] + b"".join(
        bytes([0xFF, 0xD0 + number % 8]) + part for number, part in enumerate(parts[1:])
    )
    restart = segment(0xDD, struct.pack(">H", restart_rows * columns)) if restart_rows else b""
    return (
        b"\xff\xd8"
        + segment(0xC4, TABLE)
        + restart
        + segment(0xC3, struct.pack(">BHHB", bits, rows, columns, 1) + b"\x01\x11\x00")
        + segment(0xDA, bytes([1, 1, 0, predictor, 0, 0]))
        + coded
        + b"\xff\xd9"
    )


NOISE = np.random.default_rng(3).integers(0, 2**16, (9, 7)).astype(np.uint16)


def test_a_stream_by_hand() -> None:
    """Two pixels of 8 bits: 128 + 3, then 131 - 2."""
    bits = CODES[2] + "11" + CODES[2] + "01"
    stream = encode(np.array([[128, 128]], np.uint8), bits=8)
    start, end = stream.index(b"\xff\xda") + 10, stream.index(b"\xff\xd9")
    decoded = decode(stream[:start] + packed(bits) + stream[end:])
    assert decoded.dtype == np.uint8
    assert decoded.tolist() == [[131, 129]]


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("restart_rows", [0, 2])
def test_every_predictor_gives_the_pixels(predictor: int, restart_rows: int) -> None:
    stream = encode(NOISE, predictor=predictor, restart_rows=restart_rows)
    np.testing.assert_array_equal(decode(stream), NOISE)


def test_a_long_stream_is_decoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.io.dicom.jpeg_lossless._CHUNK", 16)
    np.testing.assert_array_equal(decode(encode(NOISE)), NOISE)


def test_the_differences_of_all_categories_are_decoded() -> None:
    """The first is half of the range, category 16; H.1.2.2."""
    image = np.array([[0, 1, 3, 0, 7, 2**15 - 1, 2**16 - 1, 0]], np.uint16)
    np.testing.assert_array_equal(decode(encode(image)), image)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.98])
def test_a_stream_that_is_cut_short_is_refused(kept: float) -> None:
    stream = encode(NOISE)
    with pytest.raises(ValueError, match=r"damaged|cut short"):
        decode(stream[: int(len(stream) * kept)])


def test_codes_that_the_table_does_not_have_are_refused() -> None:
    stream = encode(NOISE)
    start = stream.index(b"\xff\xda") + 10
    with pytest.raises(ValueError, match=r"damaged|cut short"):
        decode(stream[:start] + b"\xfe" * 400)


def test_damaged_bytes_raise_no_other_error() -> None:
    stream, random = encode(NOISE[:4, :4]), np.random.default_rng(5)
    for _ in range(500):
        changed = bytearray(stream)
        changed[random.integers(2, len(stream))] = random.integers(256)
        try:
            decode(bytes(changed))
        except (ValueError, struct.error):
            continue


def test_negative_values_are_extended_to_sixteen_bits() -> None:
    """-1 of 12 bits is 4095."""
    options: dict[str, int] = {}
    runner = SimpleNamespace(pixel_representation=1, bits_stored=12, set_option=options.__setitem__)
    stream = encode(np.array([[4095, 5]], np.uint16), bits=12)
    values = np.frombuffer(decode_frame(stream, runner), "<i2")  # type: ignore[arg-type]
    assert values.tolist() == [-1, 5]
    assert options == {"bits_allocated": 16}
