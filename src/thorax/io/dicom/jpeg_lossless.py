"""Decode JPEG Lossless (process 14), a common compression of CT, with NumPy.

Format: ITU-T T.81 (ISO/IEC 10918-1), annex H. A Huffman code can start at any bit, so the length
of the code and of its value is looked up for all bits at once. Only the steps from code to code,
eight at a time, are a loop. `decode_frame` is a plugin for pydicom, which splits files into frames.
"""

import re
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

SYNTAXES = (JPEGLossless, JPEGLosslessSV1)

PLUGIN = "thorax"
"""Name of the decoder in pydicom."""

DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("numpy",))

_START, _TABLES, _SCAN, _RESTARTS = 0xC3, 0xC4, 0xDA, 0xDD

_CHUNK = 2**17
"""Bytes for which all code lengths are in memory at a time."""

_PADDING = 8
"""Bytes after the coded data, because the last bits are read as a part of 32."""

_MAX_STEP = 31
"""Largest number of bits of a code (16) and its value (15)."""

_INVALID = 255

_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)

_RESTART = re.compile(rb"\xff[\xd0-\xd7]")

_LARGEST = 2**15
"""The difference of category 16, which has no further bits."""

Integers = NDArray[np.int64]


@dataclass
class _Header:
    """Parameters of a stream; tables map the next 16 bits to category and length of a code."""

    bits: int = 0
    rows: int = 0
    columns: int = 0
    restart: int = 0
    predictor: int = 0
    shift: int = 0
    table: int = 0
    tables: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = field(default_factory=dict)


def is_available(uid: str) -> bool:
    """Check for a transfer syntax of this module, as pydicom asks of a plugin."""
    return uid in SYNTAXES


def register() -> None:
    """Make this decoder available to pydicom."""
    for syntax in SYNTAXES:
        decoder = get_decoder(syntax)
        if PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Decode a frame for pydicom: greyscale, in 8 or 16 bits, negative values extended.

    Raises:
        ValueError: The stream is damaged, cut short, or not greyscale.
    """
    values = decode(source)
    allocated = 8 * values.itemsize
    runner.set_option("bits_allocated", allocated)
    if runner.pixel_representation == 1 and (unused := allocated - runner.bits_stored) > 0:
        signed = values.view(f"i{values.itemsize}")
        return ((signed << unused) >> unused).tobytes()
    return values.tobytes()


def decode(stream: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode a stream.

    Returns:
        Shape ``(rows, columns)``, uint8 for at most 8 bits, otherwise uint16.

    Raises:
        ValueError: The stream is damaged, cut short, or not greyscale.
    """
    header, start = _read_header(stream)
    end = _END.search(stream, start)
    coded = stream[start : end.start() if end else len(stream)]
    rows = header.restart // header.columns if header.restart else header.rows
    if header.restart % header.columns:
        raise ValueError("restart intervals must be whole rows")
    parts, missing = [], header.rows
    for segment in _RESTART.split(coded) if header.restart else [coded]:
        parts.append(_decode_rows(segment, header, min(rows, missing)))
        missing -= len(parts[-1])
    if missing:
        raise ValueError("the stream is cut short")
    values = np.concatenate(parts) << header.shift
    return values.astype(np.uint8) if header.bits <= 8 else values.astype(np.uint16)


def _read_header(stream: bytes) -> tuple[_Header, int]:
    """Read the markers before the coded data; return the position of these data, too."""
    header, position = _Header(), 2
    while position + 4 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        (length,) = struct.unpack_from(">H", stream, position + 2)
        content = stream[position + 4 : position + 2 + length]
        position += 2 + length
        _read_segment(header, marker, content)
        if marker == _SCAN:
            _check(header)
            return header, position
    raise ValueError("the header is damaged")


def _read_segment(header: _Header, marker: int, content: bytes) -> None:
    if marker == _START:
        header.bits, header.rows, header.columns, count = struct.unpack_from(">BHHB", content)
        if count != 1:
            raise ValueError("only greyscale is supported")
    elif marker == _TABLES:
        while content:
            used = 17 + sum(content[1:17])
            header.tables[content[0]] = _table(content[1:17], content[17:used])
            content = content[used:]
    elif marker == _RESTARTS:
        (header.restart,) = struct.unpack_from(">H", content)
    elif marker == _SCAN:
        _, _, tables, header.predictor, _, shift = struct.unpack_from(">6B", content)
        header.table, header.shift = tables >> 4, shift & 15


def _check(header: _Header) -> None:
    valid = 2 <= header.bits <= 16 and header.rows and header.columns
    if not (valid and 1 <= header.predictor <= 7 and header.table in header.tables):
        raise ValueError("the header is damaged, or the stream is not lossless")
    if header.shift >= header.bits:
        raise ValueError("the header is damaged")


def _table(counts: bytes, categories: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return category and length of the code that the next 16 bits start with."""
    if len(counts) < 16:
        raise ValueError("a Huffman table is damaged")
    lengths = np.repeat(np.arange(1, 17), list(counts))
    if len(lengths) != len(categories) or max(categories, default=_INVALID) > 16:
        raise ValueError("a Huffman table is damaged")
    spans = 2 ** (16 - lengths)
    if spans.sum() > 2**16:
        raise ValueError("a Huffman table is damaged")
    category, length = np.full((2, 2**16), _INVALID, dtype=np.uint8)
    category[: spans.sum()] = np.repeat(np.frombuffer(categories, np.uint8), spans)
    length[: spans.sum()] = np.repeat(lengths, spans)
    return category, length


def _decode_rows(coded: bytes, header: _Header, rows: int) -> Integers:
    differences = _differences(coded, header, rows * header.columns)
    values = differences.reshape(rows, header.columns)
    if not rows:
        return values
    values[0, 0] += 1 << (header.bits - header.shift - 1)
    values[0] = np.cumsum(values[0]) & 0xFFFF
    for row in range(1, rows):
        values[row] = _restored(values[row - 1], values[row], header.predictor) & 0xFFFF
    return values


def _differences(coded: bytes, header: _Header, count: int) -> Integers:
    """Decode the differences to the predicted values."""
    if not count:
        return np.zeros(0, np.int64)
    padded = coded.replace(b"\xff\x00", b"\xff") + bytes(_PADDING)
    data = np.frombuffer(padded, np.uint8).astype(np.uint32)
    # The next 32 bits from each byte on.
    words = data[:-3] << 24 | data[1:-2] << 16 | data[2:-1] << 8 | data[3:]
    category, length = header.tables[header.table]
    starts = _code_starts(words, _steps(category, length), count)
    codes = _next_16(words, starts)
    sizes = category[codes].astype(np.int64)
    if (sizes == _INVALID).any():
        raise ValueError("the coded data are damaged")
    extra = np.where(sizes == 16, 0, sizes)
    values = _next_16(words, starts + length[codes]) >> (16 - extra)
    negative = values < 1 << np.maximum(extra - 1, 0)
    if starts[-1] + length[codes[-1]] + extra[-1] > 8 * (len(data) - _PADDING):
        raise ValueError("the stream is cut short")
    differences = np.where(negative & (extra > 0), values - (1 << extra) + 1, values)
    return np.where(sizes == 16, _LARGEST, differences)


def _steps(category: NDArray[np.uint8], length: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bits of a code and of its value, at most 31, for the next 16 bits."""
    extra = np.where(category == 16, 0, category)
    return np.where(category == _INVALID, _MAX_STEP, length + extra).astype(np.uint8)


def _code_starts(words: NDArray[Any], steps: NDArray[np.uint8], count: int) -> Integers:
    """Return the positions of the first bits of the codes."""
    parts: list[Integers] = []
    position, shifts = 0, np.arange(16, 8, -1, dtype=np.uint32)
    for first in range(0, len(words), _CHUNK):
        end = 8 * min(_CHUNK, len(words) - first)
        windows = words[first : first + _CHUNK + _MAX_STEP + 1, np.newaxis] >> shifts & 0xFFFF
        step = steps[windows.ravel()]
        starts, position = _chain(step, position, end)
        parts.append(starts + 8 * first)
        position -= end
        if sum(map(len, parts)) >= count:
            return np.concatenate(parts)[:count]
    raise ValueError("the stream is cut short")


def _chain(step: NDArray[np.uint8], position: int, end: int) -> tuple[Integers, int]:
    """Follow the steps from a position to the end; return all positions, and the next one.

    The loop takes eight steps at a time, whose sum is still less than 256.
    """
    last, places = len(step) - 1, np.arange(len(step))
    jump = step
    for _ in range(3):
        jump = jump + jump[np.minimum(places + jump, last)]
    jumps = jump.tobytes()
    eighths: list[int] = []
    while position < end:
        eighths.append(position)
        position += jumps[position]
    columns = [np.array(eighths, dtype=np.int64)]
    for _ in range(7):
        columns.append(columns[-1] + step[np.minimum(columns[-1], last)])
    return np.stack(columns, axis=1).ravel(), position


def _next_16(words: NDArray[Any], positions: Integers) -> Integers:
    """Return the 16 bits from each position on."""
    inside = np.minimum(positions >> 3, len(words) - 1)
    return (words[inside].astype(np.int64) >> (16 - (positions & 7))) & 0xFFFF


def _restored(above: Integers, differences: Integers, predictor: int) -> Integers:
    """Add a row of differences to their predictions (T.81, table H.1); the first is from above."""
    if predictor >= 6:
        return _restored_singly(above, differences, predictor)
    row = differences.copy()
    row[0] += above[0]
    if predictor == 2:
        row[1:] += above[1:]
    elif predictor == 3:
        row[1:] += above[:-1]
    else:
        if predictor == 4:
            row[1:] += np.diff(above)
        elif predictor == 5:
            row[1:] += np.diff(above) >> 1
        row = np.cumsum(row)
    return row


def _restored_singly(above: Integers, differences: Integers, predictor: int) -> Integers:
    upper, row = above.tolist(), differences.tolist()
    row[0] = (row[0] + upper[0]) & 0xFFFF
    for column in range(1, len(row)):
        left, over = row[column - 1], upper[column]
        mean, slope = (left + over) >> 1, (left - upper[column - 1]) >> 1
        predicted = over + slope if predictor == 6 else mean
        row[column] = (row[column] + predicted) & 0xFFFF
    return np.array(row)
