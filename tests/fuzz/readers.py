"""The readers to fuzz, with generated valid files."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import google_crc32c
import nibabel
import numpy as np
import SimpleITK
import yaml
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from .mutations import Rng, mutate

Read = Callable[[Path], object]
Pack = Callable[[bytes, Rng, tuple[bytes, ...]], bytes]
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reader:
    """A reader to fuzz.

    Args:
        name: File name; its suffix determines the format.
        seeds: Returns valid files.
        read: Reads the file completely.
        damage: Damages the content of a compressed or framed file.
        companions: Returns valid files for the same folder.
    """

    name: str
    seeds: Callable[[], tuple[bytes, ...]]
    read: Read
    damage: Pack | None = None
    companions: Callable[[], Mapping[str, bytes]] = dict

    def input(self, rng: Rng) -> bytes:
        """Return a damaged file."""
        seeds = self.seeds()
        content = seeds[rng.integers(len(seeds))]
        if self.damage and rng.random() < 0.6:
            return self.damage(content, rng, seeds)
        return mutate(content, seeds, rng)


def _voxels() -> np.ndarray:
    return np.arange(8 * 6 * 4, dtype=np.int16).reshape(8, 6, 4) - 1000


def _nifti_bytes(image: Any) -> bytes:
    return bytes(image.to_bytes())


@cache
def nifti_seeds() -> tuple[bytes, ...]:
    affine = np.diag([0.8, 0.8, 2.5, 1.0])
    scaled = nibabel.Nifti1Image(_voxels(), affine)
    scaled.header.set_slope_inter(2, -5)
    extended = nibabel.Nifti1Image(_voxels().astype(np.float32), affine)
    extended.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"a comment"))
    sagittal = nibabel.Nifti1Image(_voxels(), affine[[2, 0, 1, 3]])
    images = (scaled, extended, sagittal, nibabel.Nifti2Image(_voxels(), affine))
    return tuple(map(_nifti_bytes, images))


def _gzipped() -> tuple[bytes, ...]:
    return tuple(gzip.compress(content, 6, mtime=0) for content in nifti_seeds())


def _in_gzip(content: bytes, rng: Rng, _: tuple[bytes, ...]) -> bytes:
    return gzip.compress(mutate(gzip.decompress(content), nifti_seeds(), rng), 1, mtime=0)


def _itk_seeds(suffix: str) -> tuple[bytes, ...]:
    from tempfile import TemporaryDirectory

    image = SimpleITK.GetImageFromArray(_voxels())
    image.SetSpacing((0.8, 0.8, 2.5))
    image.SetMetaData("comment", "a line")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"scan{suffix}"
        contents = []
        for packed in (False, True):
            SimpleITK.WriteImage(image, str(path), useCompression=packed)
            contents.append(path.read_bytes())
    return tuple(contents)


@cache
def nrrd_seeds() -> tuple[bytes, ...]:
    detached = (
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 8 6 4\nspace: left-posterior-superior\n"
        b"space directions: (0.8,0,0) (0,0.8,0) (0,0,2.5)\nkinds: domain domain domain\n"
        b"endian: little\nencoding: raw\nspace origin: (0,0,0)\n"
    )
    return *_itk_seeds(".nrrd"), detached + b"data file: scan.raw\n"


@cache
def mha_seeds() -> tuple[bytes, ...]:
    detached = (
        b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        b"CompressedData = False\nDimSize = 8 6 4\nElementSpacing = 0.8 0.8 2.5\n"
        b"ElementType = MET_SHORT\nElementDataFile = scan.raw\n"
    )
    return *_itk_seeds(".mha"), detached


@cache
def pair_seeds() -> tuple[bytes, ...]:
    """Return headers of pairs; all have the same voxels."""
    from tempfile import TemporaryDirectory

    headers = []
    with TemporaryDirectory() as folder:
        for kind in (nibabel.Nifti1Pair, nibabel.Nifti2Pair, nibabel.AnalyzeImage):
            path = Path(folder) / "scan.img"
            nibabel.save(kind(_voxels(), np.diag([0.8, 0.8, 2.5, 1.0])), path)
            headers.append(path.with_suffix(".hdr").read_bytes())
    return tuple(headers)


def _image() -> Mapping[str, bytes]:
    return {"scan.img": _voxels().tobytes("F")}


@cache
def dicom_seeds() -> tuple[bytes, ...]:
    return tuple(_slice(syntax, frames) for syntax, frames in SLICES)


SLICES = (
    (ExplicitVRLittleEndian, 1),
    (RLELossless, 1),
    (JPEG2000Lossless, 1),
    (JPEGLSLossless, 1),
    (ExplicitVRLittleEndian, 3),
)


def _slice(syntax: str, frames: int, *, height_mm: int = 5) -> bytes:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3.4"
    slice_ = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    tags = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": f"1.2.3.{height_mm}",
        "SeriesInstanceUID": "1.2.3",
        "StudyInstanceUID": "1.2", "SeriesNumber": 3, "Modality": "CT", "ImageType": ["ORIGINAL"],
        "Rows": 40, "Columns": 40, "SamplesPerPixel": 1, "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, "PhotometricInterpretation": "MONOCHROME2",
        "ImagePositionPatient": [0, 0, height_mm], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.8, 0.8], "SliceThickness": 2.5, "RescaleSlope": 1,
        "RescaleIntercept": -1024, "PatientName": "DOE^JANE",
    }  # fmt: skip
    for name, value in tags.items():
        setattr(slice_, name, value)
    if frames > 1:
        slice_.NumberOfFrames = frames
        del slice_.ImagePositionPatient
        slice_.SeriesInstanceUID = "1.2.9"
        slice_.PerFrameFunctionalGroupsSequence = [_frame(number) for number in range(frames)]
    slice_.PixelData = np.tile(np.arange(1600, dtype=np.int16), frames).tobytes()
    if syntax != ExplicitVRLittleEndian:
        slice_.compress(syntax)
    stream = io.BytesIO()
    slice_.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _frame(number: int) -> Dataset:
    position, groups = Dataset(), Dataset()
    position.ImagePositionPatient = [0, 0, 2 * number]
    groups.PlanePositionSequence = [position]
    return groups


def _second_slice() -> Mapping[str, bytes]:
    return {"other.dcm": _slice(ExplicitVRLittleEndian, 1, height_mm=7), "n.txt": b"a note"}


@cache
def zip_seeds() -> tuple[bytes, ...]:
    return tuple(
        _zipped({"a.dcm": dicom_seeds()[0], **_second_slice()}, method)
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    )


def _zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def _in_zip(content: bytes, rng: Rng, _: tuple[bytes, ...]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = list(members)[rng.integers(len(members))]
    members[chosen] = mutate(members[chosen], list(members.values()), rng)
    return _zipped(members, zipfile.ZIP_DEFLATED)


@cache
def record_seeds() -> tuple[bytes, ...]:
    from tempfile import TemporaryDirectory

    from thorax.preprocessing.records import CaseRecord, write_record

    planes = np.arange(2 * 8 * 8, dtype=np.int16).reshape(2, 8, 8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.tfrecord"
        write_record(path, CaseRecord(planes, np.zeros((2, 8, 8, 2), np.uint8)))
        return (path.read_bytes(),)


def _in_frame(content: bytes, rng: Rng, seeds: tuple[bytes, ...]) -> bytes:
    """Return a frame with valid checksums and damaged content, or with a wrong length."""
    (length,) = struct.unpack("<Q", content[:8])
    payload = mutate(content[12 : 12 + length], seeds, rng)
    length = len(payload) if rng.random() < 0.8 else int(rng.integers(2**63))
    head = struct.pack("<Q", length)
    return head + _crc(head) + payload + _crc(payload)


def _crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def model_seeds() -> tuple[bytes, ...]:
    import onnx
    from onnx import helper, numpy_helper

    from thorax.models.spec import spec_json

    kernel = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "kernel")
    nodes = [
        helper.make_node("Transpose", ["stacks"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["a", "kernel"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["b"], ["c"]),
        helper.make_node("Transpose", ["c"], ["probabilities"], perm=[0, 2, 3, 1]),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 8, 8, 1])
        for name in ("stacks", "probabilities")
    ]
    graph = helper.make_graph(nodes, "thorax", ends[:1], ends[1:], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    model.metadata_props.add(key="thorax", value=spec_json(_spec()))
    return (model.SerializeToString(),)


def _spec() -> Any:
    from thorax.models.spec import ModelSpec

    return ModelSpec(8, "none", 0, (-1000.0, 400.0), {"lung": (1,)})


OPERATORS = (
    "Resize", "Pad", "ConvTranspose", "MaxPool", "Reshape", "Concat", "If", "Loop", "Tile",
    "Expand",
    "ConstantOfShape", "Shape", "Gather", "Cast", "Upsample", "Add", "Constant", "MatMul",
)  # fmt: skip


def _in_model(content: bytes, rng: Rng, _: tuple[bytes, ...]) -> bytes:
    """Return a valid message with changed content."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    for _number in range(rng.integers(1, 4)):
        _CHANGES[rng.integers(len(_CHANGES))](model, rng)
    return model.SerializeToString()


def _change_operator(model: Any, rng: Rng) -> None:
    node = model.graph.node[rng.integers(len(model.graph.node))]
    node.op_type = OPERATORS[rng.integers(len(OPERATORS))]


def _change_dims(model: Any, rng: Rng) -> None:
    dims = model.graph.initializer[0].dims
    dims[rng.integers(len(dims))] = int((0, -1, 2**20, 2**31, 2**62, 3)[rng.integers(6)])


def _change_attribute(model: Any, rng: Rng) -> None:
    node = model.graph.node[rng.integers(len(model.graph.node))]
    if node.attribute:
        ints = node.attribute[0].ints
        ints[rng.integers(len(ints))] = int((0, -1, 2**20, 2**31 - 1, 2**62)[rng.integers(5)])


def _change_wiring(model: Any, rng: Rng) -> None:
    nodes = model.graph.node
    target, source = (nodes[rng.integers(len(nodes))] for _ in range(2))
    if target.input and source.output:
        target.input[0] = source.output[0]


def _change_node(model: Any, rng: Rng) -> None:
    model.graph.node.add().CopyFrom(model.graph.node[rng.integers(len(model.graph.node))])


def _change_ends(model: Any, rng: Rng) -> None:
    end = (model.graph.input, model.graph.output)[rng.integers(2)][0]
    sides = end.type.tensor_type.shape.dim
    sides[rng.integers(len(sides))].dim_value = int((0, -1, 8, 2**31, 2**62)[rng.integers(5)])


def _change_text(model: Any, rng: Rng) -> None:
    note = model.metadata_props[0]
    note.value = mutate(note.value.encode(), [b"{}"], rng).decode("utf-8", "replace")


def _change_type(model: Any, rng: Rng) -> None:
    model.graph.initializer[0].data_type = int(rng.integers(0, 30))


_CHANGES: tuple[Callable[[Any, Rng], None], ...] = (
    _change_operator, _change_dims, _change_attribute, _change_wiring, _change_node, _change_ends,
    _change_text, _change_type,
)  # fmt: skip


def _spec_seeds() -> tuple[bytes, ...]:
    from thorax.models.spec import spec_json

    return (spec_json(_spec()).encode(),)


def _index_seeds() -> tuple[bytes, ...]:
    return (
        b'{"format_version": 3, "dataset": "a", "canvas": 8, "crop": "none",'
        b' "regions": {"lung": [1]}, "ignored": [], "records": [{"case": "a", "patient": "a",'
        b' "site": "", "planes": 2,'
        b' "scan_sha256": "0", "mask_sha256": "1", "intensity": "-1250,250", "record_sha256": "2",'
        b' "ceiling": {"lung": {"both": 1, "truth": 1, "predicted": 1}}}]}',
    )


def _dataset_seeds() -> tuple[bytes, ...]:
    plain = {"regions": {"lung": [1, 2], "infection": [2]}, "patient": "([a-z]+)-", "title": "a"}
    anchored = b"regions: &a {lung: [1]}\nintensity: {'a*': hu, 'b*': [-1000, 400]}\n"
    return yaml.safe_dump(plain).encode(), anchored


@cache
def _params_seeds() -> tuple[bytes, ...]:
    return ((ROOT / "params.yaml").read_bytes(),)


def _score_seeds() -> tuple[bytes, ...]:
    return (
        b"case,site,region,dice\na,x,lung,0.9\nb,y,lung,\n",
        b'case,region,nsd\n"a ""b""",l,1e3\n',
    )


def _pair_seeds() -> tuple[bytes, ...]:
    return (b"scan,mask\na.nii.gz,b.nii.gz\nc.nrrd,d.mha\n",)


@cache
def keras_seeds() -> tuple[bytes, ...]:
    from tempfile import TemporaryDirectory

    import keras

    stack = keras.Input((8, 8, 1))
    network = keras.Model(stack, keras.layers.Conv2D(1, 3, padding="same")(stack))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        network.save(path)
        return (path.read_bytes(),)


def read_scan(path: Path) -> None:
    from thorax.io import Scan

    for _ in Scan(path, nan=-1024.0).slabs():
        pass


def read_series(path: Path) -> None:
    read_scan(path.parent)


def read_records(path: Path) -> None:
    from thorax.preprocessing.records import read_record

    read_record(path)


def run_model(path: Path) -> None:
    _run(path, "onnxruntime")


def run_openvino(path: Path) -> None:
    _run(path, "openvino")


def _run(path: Path, engine: Any) -> None:
    from thorax.models.engines.open import open_engine
    from thorax.models.onnx_file import read_model

    spec, graph = read_model(path)
    planes = np.zeros((2, spec.canvas, spec.canvas), np.int16)
    open_engine(graph, engine, window=spec.window).probabilities(planes)


def read_spec(path: Path) -> None:
    from thorax.models.spec import load_spec

    load_spec(path.parent)


def read_index(path: Path) -> None:
    from thorax.preprocessing.index import load_index

    load_index(path.parent)


def read_dataset(path: Path) -> None:
    from thorax.datasets.dataset import load_spec

    spec = load_spec(path)
    spec.as_regions()
    spec.intensity_of("abc-1")


def read_params(path: Path) -> None:
    from thorax.common.params import load_params

    load_params(path)


def read_scores(path: Path) -> None:
    from thorax.experiments.score_tables import read_tables

    for table in read_tables([path.name], path.parent):
        for metric in table.metrics:
            table.values(metric)


def read_pairs(path: Path) -> None:
    from thorax.inference.inputs import find_tasks

    find_tasks([path], None)


def read_manifest(path: Path) -> None:
    from thorax.inference.manifest.files import Manifest

    Manifest(path.parent)


def read_keras(path: Path) -> None:
    from thorax.models.keras_file import load_network

    load_network(path)


def _manifest_seeds() -> tuple[bytes, ...]:
    return (
        b'[{"case": "a", "status": "done", "scan": "a.nii", "mask": "b.nii", "model": "0",'
        b' "settings": "", "seconds": 1.5, "intensity": "", "volumes_ml": {"lung": 3.5},'
        b' "certainty": {"lung": null}, "quality_warnings": ["x"], "warnings": [], "error": ""}]',
    )


def _raw() -> Mapping[str, bytes]:
    return {"scan.raw": _voxels().tobytes()}


READERS = {
    "nifti": Reader("scan.nii", nifti_seeds, read_scan),
    "nifti-gz": Reader("scan.nii.gz", _gzipped, read_scan, _in_gzip),
    "pair": Reader("scan.hdr", pair_seeds, read_scan, companions=_image),
    "nrrd": Reader("scan.nrrd", nrrd_seeds, read_scan, companions=_raw),
    "mha": Reader("scan.mha", mha_seeds, read_scan, companions=_raw),
    "dicom": Reader("a.dcm", dicom_seeds, read_series),
    "zip": Reader("scan.zip", zip_seeds, read_scan, _in_zip),
    "record": Reader("a.tfrecord", record_seeds, read_records, _in_frame),
    "onnx": Reader("model.onnx", model_seeds, run_model, _in_model),
    "openvino": Reader("model.onnx", model_seeds, run_openvino, _in_model),
    "spec": Reader("spec.json", _spec_seeds, read_spec),
    "index": Reader("index.json", _index_seeds, read_index),
    "manifest": Reader("manifest.json", _manifest_seeds, read_manifest),
    "dataset": Reader("dataset.yaml", _dataset_seeds, read_dataset),
    "params": Reader("params.yaml", _params_seeds, read_params),
    "scores": Reader("scores.csv", _score_seeds, read_scores),
    "pairs": Reader("pairs.csv", _pair_seeds, read_pairs),
    "keras": Reader("model.keras", keras_seeds, read_keras, _in_zip),
}
