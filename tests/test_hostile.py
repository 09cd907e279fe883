"""Malicious files are rejected in one line, without using much memory or writing files."""

import gzip
import json
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import nibabel
import numpy as np
import onnx
import pytest
from onnx import helper

from thorax.common.errors import InputError, printable
from thorax.common.params import load_params
from thorax.common.tables import as_csv, plain_cell
from thorax.datasets.dataset import load_spec
from thorax.io import Scan
from thorax.models.keras_file import load_network
from thorax.models.onnx_file import read_model
from thorax.preprocessing.records import read_record

from .fuzz.readers import keras_seeds, model_seeds
from .io.conftest import one_slice

MOST_GROWTH = 300 * 2**20
Change = Callable[[Any], object]


class Writes:
    """An object whose unpickling creates a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._canary,)


def nifti_header(*shape: int, offset: int = 352) -> bytes:
    header = nibabel.Nifti2Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header["vox_offset"], header["sform_code"] = offset, 1
    header["srow_x"], header["srow_y"], header["srow_z"] = np.diag([1, 1, 1, 1])[:3]
    return bytes(header.binaryblock) + bytes(4)


def rejected(path: Path, message: str) -> None:
    """Check that a scan is rejected without using much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=message):
        for _ in Scan(path, nan=0.0).slabs():
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH / 1024


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_header_with_too_many_voxels(tmp_path: Path, name: str) -> None:
    content = nifti_header(30_000, 30_000, 30_000, offset=544)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    rejected(tmp_path / name, r"at most 8192 voxels along an axis .* declares 30000×30000×30000$")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_header_with_more_voxels_than_its_file(tmp_path: Path, name: str) -> None:
    content = nifti_header(2048, 2048, 2000, offset=544)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    rejected(tmp_path / name, r"is cut short or damaged; copy it again from its source$")


def test_the_largest_scans_are_read(tmp_path: Path) -> None:
    """The files are sparse; only the header and the last slice are read."""
    for shape in ((2048, 2048, 2000), (512, 512, 3000)):
        path = tmp_path / "a.nii"
        path.write_bytes(nifti_header(*shape, offset=544))
        with path.open("r+b") as stream:
            stream.truncate(544 + 2 * int(np.prod(shape)))
        scan = Scan(path)
        assert scan.grid.shape == shape
        assert not scan.planes(shape[2] - 1, shape[2]).any()


def test_a_gzip_with_data_after_its_voxels(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    with gzip.open(path, "wb", 1) as stream:
        stream.write(nifti_header(4, 4, 4, offset=544) + bytes(128))
        for _ in range(80):
            stream.write(bytes(2**20))
    rejected(path, r"has more data than its header declares")


def test_a_header_with_an_endless_extension(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    header = nifti_header(4, 4, 4, offset=2**30)[:540] + b"\1\0\0\0" + struct.pack("<ii", 2**30, 2)
    path.write_bytes(gzip.compress(header))
    rejected(path, r"is not a NIfTI image, or its header is damaged$")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.zip", "a.dcm"])
def test_a_pickle_in_disguise(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Writes(tmp_path / "canary")))
    rejected(tmp_path / name, r"is not a \w+ (image|file), or its header is damaged$")
    assert not (tmp_path / "canary").exists()


NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nencoding: {encoding}\n"
    "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
    "space origin: (0,0,0)\nendian: little\n{data}\n"
)
META = (
    "ObjectType = Image\nNDims = {dims}\nDimSize = {sizes}\nElementType = MET_SHORT\n"
    "CompressedData = {packed}\nCompressedDataSize = {size}\nElementDataFile = {data}\n"
)


@pytest.mark.parametrize("place", ["/etc/passwd", "../a.raw", "below/a.raw", r"C:\a.raw", ".."])
def test_voxels_are_not_read_from_other_folders(tmp_path: Path, place: str) -> None:
    nrrd = NRRD.format(sizes="2 2 2", encoding="raw", data=f"data file: {place}\n")
    (tmp_path / "a.nhdr").write_text(nrrd)
    meta = META.format(dims=3, sizes="2 2 2", packed=False, size=0, data=place)
    (tmp_path / "a.mhd").write_text(meta)
    for name in ("a.nhdr", "a.mhd"):
        rejected(tmp_path / name, r"in the folder of its header|file of its voxels is missing")


@pytest.mark.parametrize("place", ["LIST", "a%d%s%n.raw 1 2 1"])
def test_voxels_in_several_files_are_rejected(tmp_path: Path, place: str) -> None:
    nrrd = NRRD.format(sizes="2 2 2", encoding="raw", data=f"data file: {place}\n")
    (tmp_path / "a.nhdr").write_text(nrrd)
    rejected(tmp_path / "a.nhdr", r"must be in one file, but .* names several; join them$")


DAMAGED = r"is not a \w+ image, or its header is damaged$"
CUT = r"is cut short or damaged; copy it again from its source$"


@pytest.mark.parametrize(
    ("sizes", "encoding", "extra", "message"),
    [
        ("30000 30000 30000", "raw", "", "at most 8192 voxels along an axis"),
        ("2048 2048 2000", "raw", "", CUT),
        ("2048 2048 2000", "gzip", "", CUT),
        ("9" * 5000, "raw", "", DAMAGED),
        ("8 8 8", "raw", "kinds: " + "abc " * 400 + "\n", CUT),
        ("8 8 8", "raw", "labels: " + '"' * 1500 + "\n", CUT),
    ],
    ids=["voxels", "raw", "gzip", "digits", "kinds", "labels"],
)
def test_a_nrrd_header_that_would_break_its_reader(
    tmp_path: Path, sizes: str, encoding: str, extra: str, message: str
) -> None:
    path = tmp_path / "a.nrrd"
    path.write_text(NRRD.format(sizes=sizes, encoding=encoding, data=extra) + "\n")
    rejected(path, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": -1}, DAMAGED),
        ({"sizes": "30000 30000 30000"}, "at most 8192 voxels along an axis"),
        ({"sizes": "2048 2048 2000"}, CUT),
        ({"sizes": "2048 2048 2000", "packed": True}, CUT),
        ({"packed": True, "size": 10**15}, CUT),
        ({"data": ""}, DAMAGED),
    ],
    ids=["dims", "voxels", "raw", "packed", "size", "no data file"],
)
def test_a_meta_image_header_that_would_break_its_reader(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    plain = {"dims": 3, "sizes": "2 2 2", "packed": False, "size": 0, "data": "LOCAL"}
    path = tmp_path / "a.mha"
    path.write_bytes(META.format(**plain | changes).encode() + bytes(16))
    rejected(path, message)


@pytest.mark.parametrize("tags", [{"NumberOfFrames": 2**31 - 1}, {"Rows": 65535, "Columns": 65535}])
def test_dicom_that_declares_more_pixels_than_it_has(tmp_path: Path, tags: dict[str, int]) -> None:
    for z in range(3):
        slice_ = one_slice(np.zeros((8, 8), np.uint16), (0, 0, 2.0 * z), **tags)
        slice_.save_as(tmp_path / f"{z}.dcm", enforce_file_format=True)
    rejected(tmp_path, r"there is no DICOM image|at most 8192 voxels along an axis")


def test_zips_with_outside_paths_or_huge_content(tmp_path: Path) -> None:
    for name in ("../../canary.dcm", "/canary.dcm", r"..\canary.dcm"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(name, b"x")
        rejected(tmp_path / "a.zip", r"contains a file with a path outside of its folder")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(2**20))
    size = struct.pack("<I", 2**20)
    (tmp_path / "b.zip").write_bytes(
        (tmp_path / "b.zip").read_bytes().replace(size, struct.pack("<I", 2**32 - 2))
    )
    rejected(tmp_path / "b.zip", r"must unpack to at most 2 GiB, but one in .* unpacks to 4.0 GiB")
    assert not list(tmp_path.parent.rglob("canary*"))


def test_a_record_frame_of_an_exbibyte(tmp_path: Path) -> None:
    head = struct.pack("<Q", 2**60)
    crc = google_crc32c.value(head)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    (tmp_path / "a.tfrecord").write_bytes(head + struct.pack("<I", masked) + bytes(100))
    with pytest.raises(InputError, match="is cut short or damaged; make it again"):
        read_record(tmp_path / "a.tfrecord")


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("regions: !!python/object/apply:os.system ['touch canary']", "could not determine a con"),
        ("regions: !!python/name:os.system", "could not determine a constructor"),
        (LAUGHS, "it expands to more than 100,000 values"),
        ("regions: &a [*a]", "it expands to more than 100,000 values"),
        ("regions: 2020-99-99", "month must be in 1..12"),
        ("regions: " + "9" * 5000, "Exceeds the limit"),
        ("regions: " + "[" * 5000, "recursion"),
        ("? [a, b]\n: 1", "a key must be a text|unhashable"),
    ],
    ids=["object", "name", "laughs", "loop", "date", "digits", "deep", "key"],
)
def test_yaml_with_code_or_huge_expansions(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    for read in (load_spec, load_params):
        with pytest.raises(InputError, match=f"is not valid YAML: .*({reason})"):
            read(tmp_path / "a.yaml")


def test_a_settings_file_has_a_size_limit(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("#" * (2**20 + 1))
    with pytest.raises(InputError, match=r"must have at most 1,048,576 bytes"):
        load_spec(tmp_path / "a.yaml")


def changed_model(path: Path, change: Change) -> Path:
    model = onnx.ModelProto.FromString(model_seeds()[0])
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def _nested(model: Any) -> None:
    inner = helper.make_node("Evil", [], ["x"], domain="evil")
    node = helper.make_node("If", ["stacks"], ["y"])
    node.attribute.append(
        helper.make_attribute("then_branch", helper.make_graph([inner], "g", [], []))
    )
    model.graph.node.append(node)


def _outside(model: Any) -> None:
    constant = onnx.TensorProto(data_type=1, dims=[1], data_location=1)
    constant.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["z"], value=constant))


def _endless(model: Any) -> None:
    for _ in range(40):
        last = model.graph.node[-2].output[0]
        model.graph.node.insert(
            len(model.graph.node) - 1,
            helper.make_node("Concat", [last, last], [last + "x"], axis=1),
        )
    model.graph.node[-1].input[0] = model.graph.node[-2].output[0]


ASKS = "it must store all of its weights itself and use standard ONNX operators only$"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_nested, ASKS),
        (_outside, ASKS),
        (lambda model: model.functions.add(name="f"), ASKS),
        (lambda model: model.graph.sparse_initializer.add(), ASKS),
        (
            lambda model: setattr(model.graph.node[1], "op_type", "Loop"),
            "operator 'Loop' is not permitted",
        ),
        (
            lambda model: setattr(model.graph.node[1], "op_type", "Tile"),
            "operator 'Tile' is not permitted",
        ),
        (
            lambda model: model.graph.initializer[0].dims.__setitem__(0, 2**40),
            "its weights are smaller than declared$",
        ),
        (_endless, "compute at most 2,147,483,648 values for a stack"),
    ],
    ids=["nested", "outside", "functions", "sparse", "loop", "tile", "weights", "doubling"],
)
def test_a_model_with_more_than_a_network(tmp_path: Path, change: Change, message: str) -> None:
    path = changed_model(tmp_path / "model.onnx", change)
    with pytest.raises(InputError, match=f"cannot be loaded: .*{message}"):
        read_model(path)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            {"module": "keras.layers", "class_name": "Lambda"},
            r"built-in Keras layers, got keras\.layers\.Lambda$",
        ),
        ({"module": "os", "class_name": "system"}, r"built-in Keras layers, got os\.system$"),
        ({"units": 10**12}, "numbers in its configuration must be at most 4096, got 1e\\+12"),
    ],
    ids=["lambda", "module", "units"],
)
def test_a_keras_file_with_code_or_huge_layers(
    tmp_path: Path, layer: dict[str, object], message: str
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(keras_seeds()[0])
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"].append(layer)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=message):
        load_network(path)


def test_names_cannot_control_a_terminal() -> None:
    assert str(InputError("there is no file a\x1b[2J\n\u202eb")) == (
        r"there is no file a\x1b[2J\n\u202eb"
    )
    assert printable("Lungen-CT é 肺") == "Lungen-CT é 肺"


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-x", "@SUM(1)", "\t=1"])
def test_names_are_not_formulas_in_a_spreadsheet(name: str) -> None:
    head, row = as_csv([{"case": name, "ml": -1.5}], ["case", "ml"]).splitlines()
    assert head == "case,ml"
    assert row.lstrip('"').startswith("'")
    assert row.endswith(",-1.5")
    assert plain_cell(f"'{name}") == name
