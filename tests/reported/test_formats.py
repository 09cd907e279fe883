"""NIfTI, NRRD and MetaImage files as in public bug reports: read right, or refused in one line.

Each test starts with the reports. Every voxel of `VOXELS` has its own value, so that exchanged
axes or lost slices change the result.
"""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from click.testing import CliRunner

from thorax.cli import main
from thorax.common.errors import InputError
from thorax.datasets.audit.measure import measure
from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.grid import check_same_grid
from thorax.inference.inputs import find_tasks
from thorax.io import Scan

SaveNifti = Callable[..., Path]

VOXELS = (np.arange(2 * 3 * 4) * 30 - 1000).astype("<i2").reshape(2, 3, 4)
"""Axes run to the left, to the back and to the head; the first voxel is at (5, 6, 7) LPS."""

AFFINE = np.array(
    [[-0.5, 0, 0, -5], [0, -0.75, 0, -6], [0, 0, 2.5, 7], [0, 0, 0, 1]], dtype=np.float64
)
CANONICAL = VOXELS[::-1, ::-1]
CANONICAL_AFFINE = np.array(
    [[0.5, 0, 0, -5.5], [0, 0.75, 0, -7.5], [0, 0, 2.5, 7], [0, 0, 0, 1]], dtype=np.float64
)
RAW = VOXELS.tobytes(order="F")
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nendian: little\nencoding: {encoding}\n"
    "space: left-posterior-superior\nspace directions: (0.5,0,0) (0,0.75,0) (0,0,2.5)\n"
    "space origin: (5,6,7)\n{more}"
)
META = (
    "ObjectType = Image\nNDims = 3\n{more}BinaryData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    "Offset = 5 6 7\nElementSpacing = 0.5 0.75 2.5\nDimSize = 2 3 4\nElementType = MET_SHORT\n"
    "ElementDataFile = {data}\n"
)


def nrrd(path: Path, more: str = "", *, detached: bool = False) -> Path:
    """Write an NRRD file; with voxels in it unless it is detached."""
    content = NRRD.format(encoding="raw", more=more).encode()
    path.write_bytes(content + (b"" if detached else b"\n" + RAW))
    return path


def meta(path: Path, more: str = "", *, data: str = "LOCAL") -> Path:
    """Write a MetaImage file, with voxels in it unless `data` names another file."""
    content = META.format(more=more, data=data).encode()
    path.write_bytes(content + (RAW if data == "LOCAL" else b""))
    return path


def pair(path: Path, kind: type = nibabel.Nifti1Pair) -> tuple[bytes, bytes]:
    """Return header and voxels of a pair that nibabel writes at a path without suffix."""
    image = kind(VOXELS, AFFINE)
    nibabel.save(image, path.with_suffix(".img"))
    files = path.with_suffix(".hdr"), path.with_suffix(".img")
    contents = files[0].read_bytes(), files[1].read_bytes()
    for file in (*files, path.with_suffix(".mat")):
        file.unlink(missing_ok=True)
    return contents


def assert_right(scan: Scan) -> None:
    np.testing.assert_array_equal(scan.voxels(), CANONICAL)
    np.testing.assert_allclose(scan.affine, CANONICAL_AFFINE, atol=1e-5)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        Scan(path).voxels()
    assert "\n" not in str(error.value)
    return str(error.value)


# Trailing axes: mriqc#738, pydeface#16


def save_itk(path: Path, dimensions: int) -> Path:
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(VOXELS.T))
    image.SetSpacing((0.5, 0.75, 2.5))
    image.SetOrigin((5, 6, 7))
    for _ in range(dimensions - 3):
        image = SimpleITK.JoinSeries([image])
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    return path


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        *((name, axes) for name in ("ct.nii", "ct.nii.gz", "ct.img") for axes in (1, 2, 3, 4)),
        *((f"ct{end}", axes) for end in (".nrrd", ".nhdr", ".mha", ".mhd") for axes in (1, 2)),
    ],
)
def test_trailing_axes_of_length_1_are_dropped(
    tmp_path: Path, save_nifti: SaveNifti, name: str, axes: int
) -> None:
    """mriqc#738, pydeface#16: a volume of shape (256, 256, 65, 1) was refused."""
    path = tmp_path / name
    voxels = VOXELS.reshape((2, 3, 4) + (1,) * axes)
    if path.suffix == ".img":
        nibabel.save(nibabel.Nifti1Pair(voxels, AFFINE), path)
    elif "nii" in name:
        save_nifti(name, voxels, AFFINE)
    else:
        save_itk(path, 3 + axes)
    scan = Scan(path)
    assert scan.grid.shape == (2, 3, 4)
    assert_right(scan)


@pytest.mark.parametrize(
    ("sizes", "directions", "kinds"),
    [
        ("1 2 3 4", "none (0.5,0,0) (0,0.75,0) (0,0,2.5)", "list domain domain domain"),
        ("2 3 4 1", "(0.5,0,0) (0,0.75,0) (0,0,2.5) none", "domain domain domain list"),
        ("2 3 4 1 1", "(0.5,0,0) (0,0.75,0) (0,0,2.5) none none", "domain domain domain list ???"),
    ],
)
def test_axes_of_an_nrrd_without_a_direction_are_dropped(
    tmp_path: Path, sizes: str, directions: str, kinds: str
) -> None:
    """mriqc#738: the axis of length 1 may be the first one in an NRRD."""
    count = len(sizes.split())
    text = NRRD.format(encoding="raw", more=f"kinds: {kinds}\n")
    text = text.replace("dimension: 3\nsizes: 2 3 4", f"dimension: {count}\nsizes: {sizes}")
    text = text.replace("(0.5,0,0) (0,0.75,0) (0,0,2.5)", directions)
    (tmp_path / "ct.nrrd").write_bytes(text.encode() + b"\n" + RAW)
    assert_right(Scan(tmp_path / "ct.nrrd"))


def test_a_space_with_time_keeps_its_directions(tmp_path: Path) -> None:
    """mriqc#738: ITK reads right-anterior-superior-time as if it were left-posterior-superior."""
    text = NRRD.format(encoding="raw", more="")
    text = text.replace("dimension: 3\nsizes: 2 3 4", "dimension: 4\nsizes: 2 3 4 1")
    text = text.replace("left-posterior-superior", "right-anterior-superior-time")
    text = text.replace(
        "(0.5,0,0) (0,0.75,0) (0,0,2.5)", "(-0.5,0,0,0) (0,-0.75,0,0) (0,0,2.5,0) (0,0,0,1)"
    ).replace("(5,6,7)", "(-5,-6,7,0)")
    (tmp_path / "ct.nrrd").write_bytes(text.encode() + b"\n" + RAW)
    assert_right(Scan(tmp_path / "ct.nrrd"))


def test_trailing_axes_of_an_array_are_dropped() -> None:
    """mriqc#738: the same in the Python API."""
    scan = Scan.in_memory(VOXELS[..., None, None], AFFINE, name="the array")
    assert_right(scan)
    with pytest.raises(InputError, match=r"a scan must be 3D, but the array has shape \(2, 3, 2,"):
        Scan.in_memory(VOXELS.reshape(2, 3, 2, 2), AFFINE, name="the array")


def test_a_mask_with_a_trailing_axis_fits_a_scan_without(save_nifti: SaveNifti) -> None:
    """pydeface#16: the mask has another number of axes than its scan."""
    scan = Scan(save_nifti("ct.nii", VOXELS, AFFINE))
    mask = Scan(save_nifti("mask.nii.gz", np.ones((2, 3, 4, 1), np.uint8), AFFINE))
    assert check_same_grid(mask, scan) is mask
    assert check_same_grid(scan, mask) is scan


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (2, 3, 4, 1, 2), (2, 1, 1), (4, 6)])
def test_several_volumes_are_still_refused(save_nifti: SaveNifti, shape: tuple[int, ...]) -> None:
    """mriqc#738: a scan of several volumes has no single right mask."""
    path = save_nifti("ct.nii", np.zeros(shape, np.int16), AFFINE)
    if shape == (2, 1, 1):
        assert Scan(path).grid.shape == (2, 1, 1)
    else:
        assert f"a scan must be 3D, but {path} has shape {shape}" in refusal(path)


# Label values: nnUNet#1183, nnUNet#1777, nnUNet#2868

LUNG = np.zeros((2, 3, 4), np.uint8)
LUNG[0, 1:, 1:3] = 1
"""Four voxels."""


def scaled(path: Path, stored: np.ndarray, slope: float) -> Path:
    """Write a NIfTI file whose header scales the stored values."""
    nibabel.save(nibabel.Nifti1Image(stored, AFFINE, dtype=stored.dtype), path)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", slope, 0)
    path.write_bytes(content)
    return path


def saved_mask(folder: Path, stored: np.ndarray, slope: float = 1.0) -> Path:
    folder.mkdir(exist_ok=True)
    return scaled(folder / "mask.nii", stored, slope)


@pytest.mark.parametrize(
    ("stored", "slope"),
    [
        pytest.param(LUNG * 1.0000001, 1.0, id="1.0000001"),
        pytest.param(LUNG * 0.9999999, 1.0, id="0.9999999"),
        pytest.param(LUNG - np.float64(1e-7), 1.0, id="-1e-7"),
        pytest.param(LUNG * np.float32(1.000009), 1.0, id="just within 1e-5"),
        pytest.param(LUNG * np.uint8(255), 1 / 255, id="0 and 255 scaled by 1/255"),
        pytest.param(LUNG * np.int16(1000), 0.001, id="0 and 1000 scaled by 0.001"),
        pytest.param(LUNG.astype(np.int64), 1.0, id="int64"),
        pytest.param(LUNG.astype(np.float64), 1.0, id="float64"),
        pytest.param(LUNG.astype(">i4"), 1.0, id="big-endian"),
    ],
)
def test_labels_within_1e_5_of_a_whole_number_are_rounded(
    tmp_path: Path, stored: np.ndarray, slope: float
) -> None:
    """nnUNet#1183, #1777, #2868: scaled masks were refused as "not whole numbers"."""
    truth, mask = saved_mask(tmp_path / "truth", LUNG), saved_mask(tmp_path, stored, slope)
    arguments = ["score", str(truth), str(mask), "--region", "lung=1", "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert json.loads(result.stdout)["lung"]["dice"] == 1.0
    labels = measure("a", None, mask, DatasetSpec(regions={"lung": (1,)})).labels
    assert labels is not None
    assert labels.voxels == {1: 4}


@pytest.mark.parametrize(
    ("stored", "slope", "value"),
    [
        pytest.param(LUNG * 0.9999, 1.0, "0.9999", id="0.9999"),
        pytest.param(LUNG * np.float32(1.0001), 1.0, "1.0001", id="1.0001"),
        pytest.param(LUNG, 0.5, "0.5", id="halves"),
        pytest.param(LUNG, 14.2452545, "14.245255", id="14.2452545"),
        pytest.param(LUNG.astype(np.int16) * 300, 1.0, "300", id="300"),
        pytest.param(LUNG.astype(np.int8) - 1, 1.0, "-1", id="-1"),
    ],
)
def test_other_label_values_are_refused_with_the_value(
    tmp_path: Path, stored: np.ndarray, slope: float, value: str
) -> None:
    """nnUNet#1183, #2868: the message names the file and the value."""
    truth, mask = saved_mask(tmp_path / "truth", LUNG), saved_mask(tmp_path, stored, slope)
    arguments = ["score", str(truth), str(mask), "--region", "lung=1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code != 0
    (line,) = result.stderr.splitlines()
    assert f"label values must be whole numbers 0..255, got {value} (" in line
    assert f"in {mask}; save the mask with one whole number per label" in line


def test_nan_in_a_mask_is_refused(tmp_path: Path) -> None:
    """nnUNet#1777: undefined labels are no background."""
    mask = saved_mask(tmp_path, np.where(LUNG == 1, 1.0, np.nan))
    assert "NaN or infinite voxels in planes 0..3; replace them, for instance by" in refusal(mask)


# Masks a small part of a voxel away from their scan


def moved(x_mm: float = 0.0, stretch: float = 1.0) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += x_mm
    affine[2, 2] *= stretch
    return affine


@pytest.mark.parametrize(
    ("affine", "note"),
    [
        pytest.param(moved(0.004), "", id="0.004 mm"),
        pytest.param(moved(0.02), "0.02 mm", id="0.02 mm"),
        pytest.param(moved(0.049), "0.049 mm", id="0.049 mm, less than a tenth of 0.5 mm"),
        pytest.param(moved(0, 1.004), "0.03 mm", id="the last slice by 0.03 mm"),
    ],
)
def test_a_mask_within_a_tenth_of_a_voxel_is_accepted_with_a_note(
    save_nifti: SaveNifti, affine: np.ndarray, note: str
) -> None:
    """nnUNet#1777: formats round the affine in different ways."""
    truth, mask = save_nifti("truth.nii", LUNG, AFFINE), save_nifti("mask.nii", LUNG, affine)
    arguments = ["score", str(truth), str(mask), "--region", "lung=1", "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert json.loads(result.stdout)["lung"]["dice"] == 1.0
    assert result.stderr.strip() == (
        f"Note: truth.nii: mask.nii is up to {note} away from truth.nii, less than a tenth of a "
        "voxel; the positions of truth.nii were used"
        if note
        else ""
    )


def test_qform_and_sform_with_different_rounding_are_the_same_grid(tmp_path: Path) -> None:
    """nnUNet#1777: the scan states its sform only, the mask its qform only."""
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    for name, forms in (("scan", ("sform", "qform")), ("mask", ("qform", "sform"))):
        image = nibabel.Nifti1Image(LUNG, None)
        getattr(image, f"set_{forms[0]}")(turned @ AFFINE, 1)
        getattr(image, f"set_{forms[1]}")(None, 0)
        nibabel.save(image, tmp_path / f"{name}.nii")
    mask = Scan(tmp_path / "mask.nii")
    assert check_same_grid(mask, Scan(tmp_path / "scan.nii")) is mask


@pytest.mark.parametrize(
    ("affine", "distance"), [(moved(0.051), "0.051"), (moved(1.95), "1.95"), (moved(0, 1.2), "1.5")]
)
def test_a_mask_further_away_is_refused_with_the_distance(
    save_nifti: SaveNifti, affine: np.ndarray, distance: str
) -> None:
    """nnUNet#1777: one voxel of offset is another part of the patient."""
    scan = Scan(save_nifti("scan.nii", VOXELS, AFFINE))
    mask = Scan(save_nifti("mask.nii", LUNG, affine))
    with pytest.raises(
        InputError, match=rf"mask\.nii is up to {distance} mm away from .*scan\.nii"
    ):
        check_same_grid(mask, scan)


# Paths in headers: MONAI#8653


def inside(tmp_path: Path) -> list[str]:
    return ["det.raw", "./det.raw", "sub/../det.raw", r".\det.raw", f"{tmp_path}/det.raw",
            "sub/deep.raw", r"sub\deep.raw", "././det.raw", "my det.raw", "100%d.raw"]  # fmt: skip


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("suffix", [".nhdr", ".mhd", ".nrrd", ".mha"])
def test_a_path_inside_the_folder_is_read_however_it_is_written(
    tmp_path: Path, suffix: str, number: int
) -> None:
    """MONAI#8653: `data file: ./det.raw` was refused as being in another folder."""
    name = inside(tmp_path)[number]
    (tmp_path / "sub").mkdir()
    for file in ("det.raw", "sub/deep.raw", "my det.raw", "100%d.raw"):
        (tmp_path / file).write_bytes(RAW)
    path = tmp_path / f"ct{suffix}"
    if suffix.startswith(".n"):
        nrrd(path, f"data file: {name}\n", detached=True)
    else:
        meta(path, data=name)
    assert_right(Scan(path))


@pytest.mark.parametrize("missing_folder", ["sub/../det.raw", r"sub\..\det.raw"])
def test_folders_that_a_path_leaves_again_need_not_exist(
    tmp_path: Path, missing_folder: str
) -> None:
    """MONAI#8653: the folder was left out of the copy."""
    (tmp_path / "det.raw").write_bytes(RAW)
    assert_right(Scan(meta(tmp_path / "ct.mhd", data=missing_folder)))


@pytest.mark.parametrize(
    "name", ["../det.raw", r"..\det.raw", "/etc/passwd", r"C:\data\det.raw", "sub/../../det.raw"]
)
def test_a_path_to_another_folder_is_refused_with_a_remedy_that_works(
    tmp_path: Path, name: str
) -> None:
    """conversion#13: a header may not read other files of the computer."""
    folder = tmp_path / "case"
    folder.mkdir()
    for file in (tmp_path / "det.raw", folder / "det.raw", folder / "passwd"):
        file.write_bytes(RAW)
    path = meta(folder / "ct.mhd", data=name)
    last = "passwd" if "passwd" in name else "det.raw"
    assert refusal(path) == (
        f"the voxels of a scan must be in the folder of its header, but {path} refers to {name!r}; "
        f"move the file there and write only {last!r} in the header"
    )
    assert_right(Scan(meta(folder / "ct.mhd", data=last)))


def test_a_link_to_another_folder_is_no_way_out(tmp_path: Path) -> None:
    """conversion#13: a folder that is a link may lead anywhere."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "det.raw").write_bytes(RAW)
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "sub").symlink_to(tmp_path / "other")
    path = nrrd(tmp_path / "case" / "ct.nhdr", "data file: sub/det.raw\n", detached=True)
    assert "must be in the folder of its header" in refusal(path)


def test_a_header_that_names_itself_is_damaged(tmp_path: Path) -> None:
    """MONAI#8653: its letters would be read as voxels."""
    path = meta(tmp_path / "ct.mhd", data="./ct.mhd")
    assert refusal(path) == f"{path} is not a MetaImage image, or its header is damaged"


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """MONAI#8653: no traceback for any name."""
    assert "File name too long" in refusal(tmp_path / ("a" * 300 + ".img"))
    assert "File name too long" in refusal(meta(tmp_path / "ct.mhd", data="a" * 300))


def test_missing_voxels_are_named(tmp_path: Path) -> None:
    """MONAI#8653: the line names the file that is missing."""
    path = meta(tmp_path / "ct.mhd", data="./gone.raw")
    assert refusal(path) == (
        f"the file of its voxels is missing: {path} refers to './gone.raw'; copy it from its source"
    )


# Text of any length: MetaIO#54

LONG = "Dose report: lorem ipsum dolor sit amet " * 2000
"""80,000 letters."""


@pytest.mark.parametrize(
    "more",
    [
        f"Comment = {LONG}\n",
        f"0020|4000 = {LONG}\n",
        f"Name = {LONG}\n",
        "Color = 000 1.000\nID = case-17\nParentID = none\n",
        "0028|1050 = 40\\-600\n0028|1055 = SOFT\\LUNG\n",
        "ITK_FileNotes = a = b : c\n",
        f"{'Key' * 500} = value\n",
    ],
    ids=["comment", "tag", "name", "reserved", "list", "separators", "key"],
)
@pytest.mark.parametrize("name", ["ct.mha", "ct.mhd"])
def test_text_fields_of_a_meta_image_may_have_any_length(
    tmp_path: Path, name: str, more: str
) -> None:
    """MetaIO#54: a field of more than 200 letters made the header "damaged"."""
    (tmp_path / "det.raw").write_bytes(RAW)
    path = meta(tmp_path / name, more, data="LOCAL" if name == "ct.mha" else "det.raw")
    assert_right(Scan(path))


@pytest.mark.parametrize(
    "more",
    [
        f"key_long:={LONG}\n",
        f"content: {LONG}\n",
        f"# {LONG}\n",
        f'labels: "{LONG}" "y" "z"\n',
        f"sample units: {LONG}\n",
        "kinds: domain domain domain\nmeasurement frame: (1,0,0) (0,1,0) (0,0,1)\n",
        "a key=x:=sizes: 9 9 9\n",
    ],
    ids=["key", "content", "comment", "labels", "units", "kinds", "equals"],
)
def test_text_fields_of_an_nrrd_may_have_any_length(tmp_path: Path, more: str) -> None:
    """MetaIO#54: the same for NRRD."""
    assert_right(Scan(nrrd(tmp_path / "ct.nrrd", more)))


# Pairs: nibabel#997, Slicer#1056

SUFFIXES = [(hdr, img) for hdr in (".hdr", ".hdr.gz") for img in (".img", ".img.gz")]


@pytest.mark.parametrize("named", [0, 1], ids=["header", "voxels"])
@pytest.mark.parametrize("suffixes", [*SUFFIXES, (".HDR", ".IMG"), (".hdr", ".IMG.GZ")], ids=str)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
def test_pairs_are_read_compressed_or_not(
    tmp_path: Path, suffixes: tuple[str, str], named: int, kind: type
) -> None:
    """nibabel#997, Slicer#1056: `.hdr.gz` was cut short, and `.hdr` with `.img.gz` missing."""
    for suffix, content in zip(suffixes, pair(tmp_path / "made", kind), strict=True):
        packed = suffix.lower().endswith(".gz")
        (tmp_path / f"ct{suffix}").write_bytes(gzip.compress(content) if packed else content)
    scan = Scan(tmp_path / f"ct{suffixes[named]}")
    assert_right(scan)
    assert scan.notes == ()


@pytest.mark.parametrize("suffixes", SUFFIXES, ids=str)
def test_analyze_pairs_are_read_with_a_warning(tmp_path: Path, suffixes: tuple[str, str]) -> None:
    """Slicer#1056: Analyze does not state left and right."""
    for suffix, content in zip(
        suffixes, pair(tmp_path / "made", nibabel.AnalyzeImage), strict=True
    ):
        packed = suffix.endswith(".gz")
        (tmp_path / f"ct{suffix}").write_bytes(gzip.compress(content) if packed else content)
    scan = Scan(tmp_path / f"ct{suffixes[0]}")
    np.testing.assert_array_equal(scan.voxels(), VOXELS[::-1])
    assert scan.spacing_mm == pytest.approx((0.5, 0.75, 2.5))
    (warning,) = scan.warnings
    assert "its axes were assumed to run to the left, to the front and to the head" in warning


def test_the_matrix_next_to_an_analyze_pair_states_its_orientation(tmp_path: Path) -> None:
    """Slicer#1056: SPM writes the affine to a third file."""
    nibabel.save(nibabel.Spm2AnalyzeImage(VOXELS, AFFINE), tmp_path / "ct.img")
    scan = Scan(tmp_path / "ct.hdr")
    assert_right(scan)
    assert scan.warnings == ()
    (tmp_path / "ct.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(400))
    assert "ct.hdr" in refusal(tmp_path / "ct.hdr")


def test_half_of_a_pair_names_the_other_half(tmp_path: Path) -> None:
    """nibabel#997: "there is no file", though the named file was there."""
    header, voxels = pair(tmp_path / "made")
    (tmp_path / "a.hdr").write_bytes(header)
    (tmp_path / "b.img").write_bytes(voxels)
    assert refusal(tmp_path / "a.hdr") == (
        f"the voxels of {tmp_path}/a.hdr are missing: put the .img or .img.gz file of the pair "
        "next to it"
    )
    assert refusal(tmp_path / "b.img") == (
        f"the header of {tmp_path}/b.img is missing: put the .hdr file of the pair next to it"
    )
    assert refusal(tmp_path / "c.img") == f"there is no file {tmp_path}/c.img"


@pytest.mark.parametrize("suffixes", SUFFIXES, ids=str)
def test_a_damaged_pair_is_refused(tmp_path: Path, suffixes: tuple[str, str]) -> None:
    """nibabel#997: "Whoops, not enough data in file"."""
    for suffix, content in zip(suffixes, pair(tmp_path / "made"), strict=True):
        packed = suffix.endswith(".gz")
        stored = gzip.compress(content) if packed else content
        cut = slice(0, -9) if suffix.startswith(".img") else slice(0, None)
        (tmp_path / f"ct{suffix}").write_bytes(stored[cut])
    assert "is cut short or damaged; copy it again" in refusal(tmp_path / f"ct{suffixes[0]}")
    (tmp_path / f"ct{suffixes[0]}").write_bytes(gzip.compress(bytes(9))[:-5])
    assert refusal(tmp_path / f"ct{suffixes[1]}")


def test_a_folder_of_pairs_has_one_scan_per_pair(tmp_path: Path) -> None:
    """nibabel#997: a folder of pairs had "no scan"."""
    header, voxels = pair(tmp_path / "made")
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.hdr").write_bytes(header)
        (folder / f"{name}.img").write_bytes(voxels)
    (folder / "three.hdr.gz").write_bytes(gzip.compress(header))
    (folder / "three.img.gz").write_bytes(gzip.compress(voxels))
    tasks = find_tasks([folder], tmp_path / "masks")
    assert [(task.case, task.scan.name, task.mask.name) for task in tasks] == [
        ("one", "one.hdr", "one.nii.gz"),
        ("three", "three.hdr.gz", "three.nii.gz"),
        ("two", "two.hdr", "two.nii.gz"),
    ]
    for task in tasks:
        assert_right(Scan(task.scan))


def test_voxels_of_a_pair_that_begin_like_dicom_are_no_dicom_series(tmp_path: Path) -> None:
    """nibabel#997: the first voxel is 8, like the first group of a DICOM file."""
    voxels = np.full((10, 10, 4), 8, np.int16)
    (tmp_path / "scans").mkdir()
    nibabel.save(nibabel.Nifti1Pair(voxels, AFFINE), tmp_path / "scans" / "ct.img")
    (task,) = find_tasks([tmp_path / "scans"], tmp_path / "masks")
    assert task.case == "ct"
    for name in ("ct.hdr", "ct.img"):
        np.testing.assert_array_equal(Scan(tmp_path / "scans" / name).voxels(), voxels)


# Orientation that is not stated: TotalSegmentator#170


def without_orientation(path: Path, kind: type = nibabel.Nifti1Image) -> Path:
    image = kind(VOXELS, None)
    image.header.set_zooms((0.5, 0.75, 2.5))
    image.header["sform_code"], image.header["qform_code"] = 0, 0
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.img"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_nifti_without_an_orientation_has_a_warning(
    tmp_path: Path, name: str, version: int
) -> None:
    """TotalSegmentator#170: with both codes 0, left and right were made up without a word."""
    kind = getattr(nibabel, f"Nifti{version}{'Pair' if name == 'ct.img' else 'Image'}")
    scan = Scan(without_orientation(tmp_path / name, kind))
    assert scan.warnings == (
        "the file does not state its orientation; its axes were assumed to run to the left, to the "
        "front and to the head: left and right may be swapped",
    )
    np.testing.assert_array_equal(scan.voxels(), VOXELS[::-1])


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 1), (4, 4)])
def test_one_code_is_enough(tmp_path: Path, codes: tuple[int, int]) -> None:
    """TotalSegmentator#170: a file with an orientation has no warning."""
    image = nibabel.Nifti1Image(VOXELS, AFFINE)
    image.set_sform(AFFINE, codes[0])
    image.set_qform(AFFINE, codes[1])
    nibabel.save(image, tmp_path / "ct.nii")
    scan = Scan(tmp_path / "ct.nii")
    assert_right(scan)
    assert scan.warnings == ()


def test_a_meta_image_without_a_matrix_has_a_warning(tmp_path: Path) -> None:
    """TotalSegmentator#170: the same for MetaImage."""
    path = meta(tmp_path / "ct.mha")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n", b""))
    scan = Scan(path)
    assert_right(scan)
    (warning,) = scan.warnings
    assert "its axes were assumed to run to the left, to the back and to the head" in warning


def test_an_nrrd_in_the_space_of_the_scanner_has_a_warning(tmp_path: Path) -> None:
    """TotalSegmentator#170: scanner-xyz is no orientation of the patient."""
    path = nrrd(tmp_path / "ct.nrrd")
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", b"scanner-xyz"))
    assert "does not state its orientation" in Scan(path).warnings[0]


@pytest.mark.parametrize("stored", [np.eye(4), np.diag([-1.0, -1, 1, 1])])
def test_an_affine_that_is_made_up_has_a_warning(save_nifti: SaveNifti, stored: np.ndarray) -> None:
    """TotalSegmentator#170: `Nifti1Image(array, np.eye(4))`, as many scripts write."""
    (warning,) = Scan(save_nifti("ct.nii", VOXELS, stored)).warnings
    assert warning.startswith("the affine is the identity, which some programs write")


def test_a_spacing_that_is_not_stated_has_a_warning(tmp_path: Path) -> None:
    """TotalSegmentator#170: volumes would be wrong."""
    path = without_orientation(tmp_path / "ct.nii")
    content = bytearray(path.read_bytes())
    content[88:92] = bytes(4)  # The spacing along the third axis.
    path.write_bytes(content)
    assert "does not state its voxel spacing; 1 mm was assumed" in Scan(path).warnings[1]
    other = meta(tmp_path / "ct.mha")
    other.write_bytes(other.read_bytes().replace(b"ElementSpacing = 0.5 0.75 2.5\n", b""))
    assert "does not state its voxel spacing; 1 mm was assumed" in Scan(other).warnings[0]


# Suffix against content


def contents(folder: Path) -> dict[str, bytes]:
    """Return complete files by format."""
    nibabel.save(nibabel.Nifti1Image(VOXELS, AFFINE), folder / "made.nii")
    plain = (folder / "made.nii").read_bytes()
    return {
        "NIfTI": plain,
        "NIfTI, gzip": gzip.compress(plain),
        "NIfTI, gzip in parts": gzip.compress(plain[:100]) + gzip.compress(plain[100:]),
        "NRRD": NRRD.format(encoding="raw", more="").encode() + b"\n" + RAW,
        "MetaImage": META.format(more="", data="LOCAL").encode() + RAW,
    }


@pytest.mark.parametrize(
    ("content", "name", "note"),
    [
        ("NIfTI, gzip", "ct.nii", "NIfTI compressed by gzip, although its name ends in .nii;"),
        ("NIfTI", "ct.nii.gz", "NIfTI without compression, although its name ends in .nii.gz;"),
        ("NIfTI, gzip in parts", "ct.nii.gz", ""),
        ("NIfTI", "CT.NII", ""),
        ("NIfTI, gzip", "CT.Nii.Gz", ""),
        ("NIfTI", "ct.nrrd", "NIfTI, although its name ends in .nrrd;"),
        ("NIfTI", "ct.mha", "NIfTI, although its name ends in .mha;"),
        ("NIfTI", "ct.dcm", "NIfTI, although its name ends in .dcm;"),
        ("NIfTI, gzip", "ct.zip", "NIfTI, although its name ends in .zip;"),
        ("NIfTI", "ct", "NIfTI, although its name does not state it;"),
        ("NIfTI, gzip", "ct.gz", "NIfTI, although its name does not state it;"),
        ("NRRD", "ct.nii", "NRRD, although its name ends in .nii;"),
        ("NRRD", "ct.nii.gz", "NRRD, although its name ends in .nii.gz;"),
        ("NRRD", "ct.mha", "NRRD, although its name ends in .mha;"),
        ("NRRD", "ct.NHDR", ""),
        ("MetaImage", "ct.nrrd", "MetaImage, although its name ends in .nrrd;"),
        ("MetaImage", "ct.nii", "MetaImage, although its name ends in .nii;"),
        ("MetaImage", "ct.mhd", ""),
    ],
)
def test_a_file_is_read_by_its_content_whatever_its_suffix(
    tmp_path: Path, content: str, name: str, note: str
) -> None:
    """nibabel#997: a wrong suffix gave errors that named no cause."""
    path = tmp_path / name
    path.write_bytes(contents(tmp_path)[content])
    scan = Scan(path)
    assert_right(scan)
    if note:
        (text,) = scan.notes
        assert text.startswith(f"the file is {note}")
    else:
        assert scan.notes == ()


def test_dicom_is_read_by_its_content(save_series: Callable[..., Path], tmp_path: Path) -> None:
    """nibabel#997: DICOM files named .nii or without a suffix."""
    folder = save_series("series", CANONICAL)
    for file in list(folder.iterdir()):
        file.rename(file.with_suffix(".nii"))
    scan = Scan(sorted(folder.iterdir())[0])
    np.testing.assert_array_equal(scan.voxels(), CANONICAL)
    assert "the file is DICOM, although its name ends in .nii; it was read by its content" in (
        scan.notes
    )
    plain = save_series("plain", CANONICAL)
    for file in list(plain.iterdir()):
        file.rename(file.with_suffix(""))
    assert Scan(sorted(plain.iterdir())[0]).notes == ()


@pytest.mark.parametrize("content", ["NRRD", "MetaImage"])
def test_other_formats_compressed_as_a_whole_are_refused(tmp_path: Path, content: str) -> None:
    """nibabel#997: the line names the cause and the remedy."""
    path = tmp_path / "ct.nrrd.gz"
    path.write_bytes(gzip.compress(contents(tmp_path)[content]))
    assert refusal(path) == (
        f"only NIfTI may be compressed as a whole, but {path} is a gzip file of {content}; "
        "decompress it, for instance by gunzip"
    )


@pytest.mark.parametrize(
    "name", ["ct.nii", "ct.nii.gz", "ct.hdr", "ct.img.gz", "ct.nrrd", "ct.mha"]
)
@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8b\x08" + bytes(99), b"abc" * 999])
def test_other_content_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    """nibabel#997: no traceback for any content."""
    (tmp_path / name).write_bytes(content)
    assert name in refusal(tmp_path / name)
