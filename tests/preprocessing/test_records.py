"""Records: round trip, reading by TensorFlow, and detection of damage."""

import os
import struct
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.common.errors import InputError
from thorax.preprocessing.records import CaseRecord, read_record, write_record

PLANES = np.array([[[-1024, 40], [0, 3071]], [[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.int16)
FRACTIONS = np.arange(3 * 2 * 2 * 2, dtype=np.uint8).reshape(3, 2, 2, 2) * 10


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Return a record of three planes of 2×2 pixels with two regions."""
    path = tmp_path / "case.tfrecord"
    write_record(path, CaseRecord(PLANES, FRACTIONS))
    return path


def framed(*payloads: bytes) -> bytes:
    """Frame payloads as TensorFlow does: length, masked CRC-32C, payload, masked CRC-32C."""

    def masked(content: bytes) -> bytes:
        crc = google_crc32c.value(content)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)

    lengths = (struct.pack("<Q", len(payload)) for payload in payloads)
    parts = zip(lengths, payloads, strict=True)
    return b"".join(a + masked(a) + b + masked(b) for a, b in parts)


def test_a_written_record_is_read_unchanged(record: Path) -> None:
    read = read_record(record)
    assert read.planes.dtype == np.int16
    assert read.fractions.dtype == np.uint8
    np.testing.assert_array_equal(read.planes, PLANES)
    np.testing.assert_array_equal(read.fractions, FRACTIONS)


@st.composite
def case_records(draw: st.DrawFn) -> CaseRecord:
    depth, side, regions = (draw(st.integers(1, most)) for most in (4, 5, 8))
    planes = draw(arrays(np.int16, (depth, side, side)))
    return CaseRecord(planes, draw(arrays(np.uint8, (depth, side, side, regions))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case_records())
def test_any_record_is_read_unchanged(tmp_path: Path, written: CaseRecord) -> None:
    write_record(tmp_path / "case.tfrecord", written)
    read = read_record(tmp_path / "case.tfrecord")
    np.testing.assert_array_equal(read.planes, written.planes)
    np.testing.assert_array_equal(read.fractions, written.fractions)


def test_equal_records_give_equal_bytes(record: Path, tmp_path: Path) -> None:
    again = CaseRecord(PLANES.astype(">i2"), np.asfortranarray(FRACTIONS))
    write_record(tmp_path / "again.tfrecord", again)
    assert (tmp_path / "again.tfrecord").read_bytes() == record.read_bytes()


def test_tensorflow_reads_the_same_values(record: Path) -> None:
    """TensorFlow uses its own reader, which verifies the checksums, and its own message class."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    for position, payload in enumerate(tf.data.TFRecordDataset(str(record))):
        feature = tf.train.Example.FromString(payload.numpy()).features.feature
        assert sorted(feature) == ["fractions", "planes", "position", "shape"]
        assert feature["position"].int64_list.value[:] == [position]
        assert feature["shape"].int64_list.value[:] == [2, 2, 2]
        plane = np.frombuffer(feature["planes"].bytes_list.value[0], "<i2")
        assert plane.tolist() == PLANES[position].ravel().tolist()
        fractions = feature["fractions"].bytes_list.value[0]
        assert list(fractions) == FRACTIONS[position].ravel().tolist()
    assert position == 2


# Damage


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(1, id="in the length"),
        pytest.param(9, id="in the checksum of the length"),
        pytest.param(12, id="before the first plane"),
        pytest.param(60, id="in the first plane"),
        pytest.param(-1, id="in the last checksum"),
        pytest.param(-4, id="before the last checksum"),
        pytest.param(-30, id="in the last plane"),
    ],
)
def test_a_record_that_is_cut_short_is_refused(record: Path, kept: int) -> None:
    record.write_bytes(record.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"case\.tfrecord is cut short or damaged; make it again"):
        read_record(record)


@pytest.mark.parametrize("at", [0, 7, 8, 11, 12, 40, 100, -50, -4, -1])
@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_bit_is_detected_at_any_position(record: Path, at: int, bit: int) -> None:
    damaged = bytearray(record.read_bytes())
    damaged[at] ^= bit
    record.write_bytes(damaged)
    with pytest.raises(InputError, match=r"case\.tfrecord is cut short or damaged; make it again"):
        read_record(record)


def test_an_empty_record_is_refused(record: Path) -> None:
    record.write_bytes(b"")
    with pytest.raises(InputError, match=r"case\.tfrecord is empty; make it again with `dvc repro"):
        read_record(record)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(framed(b"no message"), id="another framed content"),
        pytest.param(framed(b""), id="a message without features"),
        pytest.param(framed(b"\x0a\x0c\x0a\x0a\x0a\x06planes\x12\x00"), id="an empty feature"),
    ],
)
def test_a_file_without_planes_is_refused(record: Path, content: bytes) -> None:
    record.write_bytes(content)
    with pytest.raises(InputError, match=r"case\.tfrecord has no planes; make it again"):
        read_record(record)


def test_planes_of_two_shapes_are_refused(record: Path, tmp_path: Path) -> None:
    other = CaseRecord(np.zeros((1, 3, 3), np.int16), np.zeros((1, 3, 3, 2), np.uint8))
    write_record(tmp_path / "other.tfrecord", other)
    with record.open("ab") as stream:
        stream.write((tmp_path / "other.tfrecord").read_bytes())
    with pytest.raises(InputError, match=r"case\.tfrecord has planes of several shapes; make it"):
        read_record(record)


def test_a_missing_record_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"record .*none\.tfrecord cannot be read; make it again"):
        read_record(tmp_path / "none.tfrecord")
    with pytest.raises(InputError, match=f"record {tmp_path} cannot be read; make it again"):
        read_record(tmp_path)


def test_a_failure_while_writing_keeps_the_old_record(record: Path) -> None:
    """The second plane has no fractions."""
    before = record.read_bytes()
    with pytest.raises(IndexError):
        write_record(record, CaseRecord(PLANES, FRACTIONS[:1]))
    assert record.read_bytes() == before
    assert list(record.parent.iterdir()) == [record]


def test_a_record_can_only_be_written_to_a_folder(record: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*; choose a folder that can be written"):
        write_record(record / "case.tfrecord", CaseRecord(PLANES, FRACTIONS))
