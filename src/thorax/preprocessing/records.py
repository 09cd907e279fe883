"""TFRecord files, one per case. The only module that knows their bytes.

They are written and read without TensorFlow: its import is slow, and it would reserve a GPU in
each process. Each record is one plane, a `tf.train.Example` that any TensorFlow program can read:

========== =======================================================
planes     int16 little-endian HU, ``H·W`` values, row by row
fractions  uint8 area fractions, ``H·W·R`` values, regions last
shape      int64 ``(H, W, R)``
position   int64, index of the plane in the scan, lowest first
========== =======================================================

The framing is that of TensorFlow's `record_writer`: length, its masked CRC-32C, the bytes, their
masked CRC-32C. A file that ends within a plane or has a flipped bit is refused; missing planes at
the end are detected by the digest in the index.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.files import whole_file


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """Planes and region fractions of a case.

    Args:
        planes: HU on the canvas, int16, shape ``(N, H, W)``.
        fractions: Area fraction of each region in each pixel, 0..255, shape ``(N, H, W, R)``.
    """

    planes: NDArray[np.int16]
    fractions: NDArray[np.uint8]


SUFFIX = ".tfrecord"

_REMEDY = "make it again with `dvc repro -sf prepare`"

_FIELD = descriptor_pb2.FieldDescriptorProto

_REPEATED, _OPTIONAL = _FIELD.LABEL_REPEATED, _FIELD.LABEL_OPTIONAL


def write_record(path: Path, record: CaseRecord) -> None:
    """Write the record of one case, atomically; equal records give equal bytes."""
    _, height, width, regions = record.fractions.shape
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        for position, plane in enumerate(record.planes):
            example = _example_type()()
            feature = example.features.feature
            feature["planes"].bytes_list.value.append(plane.astype("<i2").tobytes())
            feature["fractions"].bytes_list.value.append(record.fractions[position].tobytes())
            feature["shape"].int64_list.value.extend((height, width, regions))
            feature["position"].int64_list.value.append(position)
            _write_framed(stream, example.SerializeToString(deterministic=True))


def read_record(path: Path) -> CaseRecord:
    """Read the record of one case.

    Raises:
        InputError: The file is missing, cut short, damaged, or of another format.
    """
    planes, fractions = [], []
    for payload in _read_framed(path):
        example = _example_type()()
        try:
            example.ParseFromString(payload)
            feature = example.features.feature
            shape = tuple(feature["shape"].int64_list.value)
            plane = np.frombuffer(feature["planes"].bytes_list.value[0], "<i2")
            fraction = np.frombuffer(feature["fractions"].bytes_list.value[0], np.uint8)
            _check_shape(shape)
            planes.append(plane.reshape(shape[:2]))
            fractions.append(fraction.reshape(shape))
        except (DecodeError, IndexError, OverflowError, ValueError):
            raise InputError(f"record {path} has no planes; {_REMEDY}") from None
    if not planes:
        raise InputError(f"record {path} is empty; {_REMEDY}")
    if len({fraction.shape for fraction in fractions}) > 1:
        raise InputError(f"record {path} has planes of several shapes; {_REMEDY}")
    return CaseRecord(np.stack(planes), np.stack(fractions))


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError


def _read_framed(path: Path) -> Iterator[bytes]:
    try:
        stream = path.open("rb")
    except OSError:
        raise InputError(f"record {path} cannot be read; {_REMEDY}") from None
    with stream:
        remaining = path.stat().st_size
        while head := stream.read(12):
            if len(head) < 12 or _masked_crc(head[:8]) != struct.unpack("<I", head[8:])[0]:
                raise InputError(f"record {path} is cut short or damaged; {_REMEDY}")
            (length,) = struct.unpack("<Q", head[:8])
            remaining -= 12 + length + 4
            # Reading a length beyond the end of the file would allocate that much memory first.
            body = stream.read(length + 4) if remaining >= 0 else b""
            payload, tail = body[:length], body[length:]
            if len(body) < length + 4 or _masked_crc(payload) != struct.unpack("<I", tail)[0]:
                raise InputError(f"record {path} is cut short or damaged; {_REMEDY}")
            yield payload


def _write_framed(stream: IO[bytes], payload: bytes) -> None:
    length = struct.pack("<Q", len(payload))
    for part in (length, payload):
        stream.write(part)
        stream.write(struct.pack("<I", _masked_crc(part)))


def _masked_crc(content: bytes) -> int:
    crc = google_crc32c.value(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _example_type() -> Any:
    """Message class of `tf.train.Example`, from the field numbers of its public definition.

    A separate descriptor pool avoids a conflict with TensorFlow's own definition.
    """
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_declare_example())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("thorax.Example"))


def _declare_example() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="thorax", syntax="proto3"
    )
    _message(file, "BytesList", [("value", 1, _FIELD.TYPE_BYTES, _REPEATED, "")])
    _message(file, "FloatList", [("value", 1, _FIELD.TYPE_FLOAT, _REPEATED, "")])
    _message(file, "Int64List", [("value", 1, _FIELD.TYPE_INT64, _REPEATED, "")])
    lists = enumerate(("bytes", "float", "int64"), start=1)
    kinds = [
        (f"{kind}_list", number, _FIELD.TYPE_MESSAGE, _OPTIONAL, f"{kind.capitalize()}List")
        for number, kind in lists
    ]
    feature = _message(file, "Feature", kinds)
    feature.oneof_decl.add(name="kind")
    for entry in feature.field:
        entry.oneof_index = 0
    pairs = [("feature", 1, _FIELD.TYPE_MESSAGE, _REPEATED, "Features.FeatureEntry")]
    _declare_map(_message(file, "Features", pairs))
    _message(file, "Example", [("features", 1, _FIELD.TYPE_MESSAGE, _OPTIONAL, "Features")])
    return file


def _declare_map(features: Any) -> None:
    pair = features.nested_type.add(name="FeatureEntry")
    pair.options.map_entry = True
    pair.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_OPTIONAL)
    value = pair.field.add(name="value", number=2, type=_FIELD.TYPE_MESSAGE, label=_OPTIONAL)
    value.type_name = ".thorax.Feature"


def _message(file: Any, name: str, fields: Sequence[tuple[str, int, Any, Any, str]]) -> Any:
    message = file.message_type.add(name=name)
    for title, number, kind, label, of in fields:
        entry = message.field.add(name=title, number=number, type=kind, label=label)
        if of:
            entry.type_name = f".thorax.{of}"
    return message
