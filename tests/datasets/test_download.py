"""Downloads from a local server with small copies of the real archives."""

import gzip
import hashlib
import io
import re
import shutil
import socket
import threading
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from thorax.cli import main
from thorax.common.errors import InputError
from thorax.common.project import dvc
from thorax.datasets import download
from thorax.datasets.dataset import load_spec
from thorax.datasets.download import COVID19, Archive, DatasetSource, fetch, original_name, unpack
from thorax.imaging.intensity import IntensityScale

SCANS = "COVID-19-CT-Seg_20cases.zip"
MASKS = "Lung_and_Infection_Mask.zip"
CASES = ("coronacases_001", "radiopaedia_10_85902_1")
MIRRORED = (
    "coronacases_org_001.nii",
    "radiopaedia_org_covid-19-pneumonia-10_85902_1-dcm.nii",
)
DATASET_YAML = Path(__file__).parents[2] / "data" / "covid19" / "dataset.yaml"


def nifti(value: int) -> bytes:
    return nib.Nifti1Image(np.full((3, 2, 2), value, np.int16), np.eye(4)).to_bytes()


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def original(value: int) -> dict[str, bytes]:
    return {f"{case}.nii.gz": gzip.compress(nifti(value), mtime=1) for case in CASES}


class Site:
    """Files of the server, and the requests it received."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.agents: list[str] = []
        self.sent_share = 1.0
        self.url = ""

    def source(self) -> DatasetSource:
        """Return a source with the digests of the current files."""
        digests = {name: hashlib.sha256(self.files[name]).hexdigest() for name in (SCANS, MASKS)}
        return DatasetSource(
            self.url,
            {"scans": Archive(SCANS, digests[SCANS]), "masks": Archive(MASKS, digests[MASKS])},
        )


@contextmanager
def serving(site: Site) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rsplit("/", 1)[-1]
            site.requests.append(name)
            site.agents.append(self.headers["User-Agent"])
            content = site.files.get(name)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: int(len(content) * site.sent_share)])

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/records/3757476/files"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    served = Site()
    served.files = {SCANS: packed(original(-700)), MASKS: packed(original(3))}
    with serving(served):
        yield served


def files_below(folder: Path) -> list[str]:
    """List every file below the folder, also hidden ones."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


ALL_FILES = [
    f"downloads/{SCANS}",
    f"downloads/{MASKS}",
    *(f"masks/{case}.nii.gz" for case in CASES),
    *(f"scans/{case}.nii.gz" for case in CASES),
]


def unpack_both(tmp_path: Path, scans: bytes, masks: bytes) -> None:
    archives = {"scans": tmp_path / SCANS, "masks": tmp_path / MASKS}
    archives["scans"].write_bytes(scans)
    archives["masks"].write_bytes(masks)
    unpack(archives, tmp_path / "dataset")


def refusal(tmp_path: Path, scans: bytes, masks: bytes) -> str:
    """Return the message of a refusal, and check that nothing was unpacked."""
    with pytest.raises(InputError) as caught:
        unpack_both(tmp_path, scans, masks)
    assert "\n" not in str(caught.value)
    assert files_below(tmp_path) == [SCANS, MASKS]
    assert not (tmp_path / "dataset" / "unpacking").exists()
    return str(caught.value)


def test_scans_and_masks_are_downloaded_byte_for_byte(site: Site, tmp_path: Path) -> None:
    fetch(site.source(), tmp_path)
    assert files_below(tmp_path) == ALL_FILES
    for case in CASES:
        for folder, members in (("scans", original(-700)), ("masks", original(3))):
            file = f"{case}.nii.gz"
            assert (tmp_path / folder / file).read_bytes() == members[file]


def test_progress_goes_to_stderr_only(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(site.source(), tmp_path)
    output = capsys.readouterr()
    assert output.out == ""
    assert f"{SCANS}: 100%" in output.err
    assert f"{MASKS}: 100%" in output.err


def test_the_user_agent_is_set_because_zenodo_refuses_the_default(
    site: Site, tmp_path: Path
) -> None:
    fetch(site.source(), tmp_path)
    assert all(agent.startswith("thorax") for agent in site.agents)


def test_mirrored_names_and_plain_nifti_give_the_same_dataset(site: Site, tmp_path: Path) -> None:
    site.files[SCANS] = packed({name: nifti(-700) for name in MIRRORED})
    fetch(site.source(), tmp_path)
    assert files_below(tmp_path) == ALL_FILES
    image = nib.load(tmp_path / "scans" / "radiopaedia_10_85902_1.nii.gz")
    assert image.shape == (3, 2, 2)
    assert np.unique(image.get_fdata()).tolist() == [-700]


def test_compression_is_reproducible(tmp_path: Path) -> None:
    scans = packed({name: nifti(-700) for name in MIRRORED})
    masks = packed(original(3))
    unpack_both(tmp_path, scans, masks)
    file = tmp_path / "dataset" / "scans" / "coronacases_001.nii.gz"
    first = file.read_bytes()
    unpack_both(tmp_path, scans, masks)
    assert file.read_bytes() == first
    assert first[3:8] == bytes(5), "flags (no name) and time in the gzip header"


@pytest.mark.parametrize(
    ("file_name", "case"),
    [
        ("coronacases_010.nii.gz", "coronacases_010"),
        ("coronacases_org_001.nii", "coronacases_001"),
        ("coronacases_org_case007.nii", "coronacases_007"),
        ("radiopaedia_4_85506_1.nii", "radiopaedia_4_85506_1"),
        ("radiopaedia_org_covid-19-pneumonia-29_86491_1-dcm.nii.gz", "radiopaedia_29_86491_1"),
    ],
)
def test_original_names(file_name: str, case: str) -> None:
    assert original_name(file_name) == case


def test_a_second_run_downloads_nothing(site: Site, tmp_path: Path) -> None:
    source = site.source()
    fetch(source, tmp_path)
    shutil.rmtree(tmp_path / "scans")  # as DVC does before it runs a stage again
    shutil.rmtree(tmp_path / "masks")
    fetch(source, tmp_path)
    assert site.requests == [SCANS, MASKS]
    assert files_below(tmp_path) == ALL_FILES


def test_a_damaged_archive_on_disk_is_downloaded_again(site: Site, tmp_path: Path) -> None:
    source = site.source()
    fetch(source, tmp_path)
    (tmp_path / "downloads" / MASKS).write_bytes(b"half")
    fetch(source, tmp_path)
    assert site.requests == [SCANS, MASKS, MASKS]
    assert (tmp_path / "downloads" / MASKS).read_bytes() == site.files[MASKS]


def test_archives_copied_by_hand_need_no_network(site: Site, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    for name, content in site.files.items():
        (tmp_path / "downloads" / name).write_bytes(content)
    fetch(site.source(), tmp_path)
    assert site.requests == []
    assert files_below(tmp_path) == ALL_FILES


def test_old_files_are_removed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "coronacases_999.nii.gz").write_bytes(b"old")
    (tmp_path / "unpacking").mkdir()
    (tmp_path / "unpacking" / "coronacases_999.nii.gz").write_bytes(b"from a killed run")
    fetch(site.source(), tmp_path)
    assert files_below(tmp_path) == ALL_FILES


def test_an_interrupted_transfer_leaves_nothing_and_the_next_one_succeeds(
    site: Site, tmp_path: Path
) -> None:
    source = site.source()
    site.sent_share = 0.5
    with pytest.raises(
        InputError, match=rf"`{SCANS}` must be downloaded completely .* more expected"
    ):
        fetch(source, tmp_path)
    assert files_below(tmp_path) == []
    site.sent_share = 1.0
    fetch(source, tmp_path)
    assert files_below(tmp_path) == ALL_FILES


def test_a_wrong_digest_is_reported_with_file_and_both_digests(site: Site, tmp_path: Path) -> None:
    source = site.source()
    expected = source.archives["masks"].sha256
    site.files[MASKS] = site.files[MASKS][:100]  # complete according to HTTP
    got = hashlib.sha256(site.files[MASKS]).hexdigest()
    with pytest.raises(InputError) as caught:
        fetch(source, tmp_path)
    line = str(caught.value)
    assert line.startswith(f"`{MASKS}` must have the SHA-256 digest {expected}, got {got}; ")
    assert "run this again" in line
    assert "\n" not in line
    assert files_below(tmp_path) == [f"downloads/{SCANS}"]


def test_a_missing_file_is_reported_in_one_line(site: Site, tmp_path: Path) -> None:
    source = site.source()
    del site.files[SCANS]
    with pytest.raises(
        InputError, match=rf"`{SCANS}` must be downloaded completely from .* got 404 "
    ):
        fetch(source, tmp_path)
    assert files_below(tmp_path) == []


def project(root: Path, monkeypatch: pytest.MonkeyPatch, source: DatasetSource) -> Path:
    """Make a project under DVC whose `covid19` comes from a source; return its dataset folder."""
    for folder in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{folder}_DIR", str(root / "dvc"))
    dataset = root / "project/data/covid19"
    dataset.mkdir(parents=True)
    shutil.copy(DATASET_YAML, dataset)
    (root / "project/.dvc").mkdir()
    (root / "project/.dvc/config").write_text("[core]\n    no_scm = true\n")
    monkeypatch.setitem(download.SOURCES, "covid19", source)
    monkeypatch.chdir(root / "project")
    return dataset


def thorax(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_command_without_network_prints_one_line_and_exits_with_status_1(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:  # bound but not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        unreachable = DatasetSource(
            f"http://127.0.0.1:{unused.getsockname()[1]}", site.source().archives
        )
        dataset = project(tmp_path, monkeypatch, unreachable)
        result = thorax("data", "download", "covid19")
    assert (result.exit_code, result.stdout) == (1, "")
    *_, line = result.stderr.splitlines()  # after the progress bar
    assert re.match(
        rf"Error: `{SCANS}` must be downloaded completely .* Connection refused; check the net",
        line,
    )
    assert files_below(dataset) == ["dataset.yaml"]


def test_the_command_fills_the_folder_and_tracks_it_with_the_digests_of_the_archives(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = site.source()
    dataset = project(tmp_path, monkeypatch, source)
    result = thorax("data", "download", "covid19")
    assert result.stdout == (
        "data/covid19: 2 cases. Next: git add data/covid19; dvc exp run -S dataset=covid19\n"
    )
    assert files_below(dataset) == sorted([*ALL_FILES, "dataset.yaml", "masks.dvc", "scans.dvc"])
    tracked = yaml.safe_load((dataset / "scans.dvc").read_text())
    assert tracked["meta"] == {
        "source": f"{site.url}/{SCANS}",
        "sha256": hashlib.sha256(site.files[SCANS]).hexdigest(),
    }
    assert [out["path"] for out in tracked["outs"]] == ["scans"]
    # DVC keeps the source when it writes the file again.
    (dataset / "scans" / f"{CASES[0]}.nii.gz").unlink()
    dvc(Path(), "add", "data/covid19/scans")
    again = yaml.safe_load((dataset / "scans.dvc").read_text())
    assert again["meta"] == tracked["meta"]
    assert again["outs"] != tracked["outs"]


def test_only_public_datasets_are_downloaded(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = project(tmp_path, monkeypatch, site.source())
    assert thorax("data", "download", "ward").stderr == (
        "Error: a public dataset must be one of covid19, got `ward`\n"
    )
    monkeypatch.chdir(dataset)
    assert thorax("data", "download", "covid19").stderr == (
        "Error: a dataset is downloaded to a project with .dvc and data/covid19/dataset.yaml; run "
        f"this in the top folder of a project, got {dataset}\n"
    )
    assert site.requests == []


def test_a_dataset_that_was_not_downloaded_is_listed_with_the_command(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, monkeypatch, site.source())
    result = thorax("data", "list")
    row = result.stdout.splitlines()[1]
    assert re.match(r"covid19 +no data +not downloaded +lung, infection ", row)
    assert result.stderr == "Note: to use covid19, run `thorax data download covid19`\n"


def test_a_folder_that_cannot_be_created_is_reported_in_one_line(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "downloads").write_text("a file instead of a folder")
    with pytest.raises(
        InputError, match=r"must be downloaded completely .* Not a directory.*; check the"
    ):
        fetch(site.source(), tmp_path)


def test_a_folder_that_cannot_be_replaced_is_reported_in_one_line(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "scans").write_text("a file instead of a folder")
    with pytest.raises(InputError, match="must be writable and have space"):
        fetch(site.source(), tmp_path)
    assert not (tmp_path / "unpacking").exists()


def test_not_a_zip_file(tmp_path: Path) -> None:
    line = refusal(tmp_path, packed(original(0)), b"<html>Sorry</html>")
    assert line.startswith(
        f"`{MASKS}` must be a complete, readable zip file, got: File is not a zip"
    )
    assert f"delete {tmp_path / MASKS}" in line


def test_truncated_zip(tmp_path: Path) -> None:
    archive = packed(original(0))
    message = refusal(tmp_path, archive, archive[: len(archive) // 2])
    assert "must be a complete, readable zip file" in message


def test_damage_in_one_archive_prevents_both_folders(tmp_path: Path) -> None:
    damaged = bytearray(packed(original(3)))
    damaged[60] ^= 0xFF  # 30 bytes of header and 22 of name come before the content
    line = refusal(tmp_path, packed(original(0)), bytes(damaged))
    assert line.startswith(f"`{MASKS}` must be a complete, readable zip file")


def test_archive_without_nifti(tmp_path: Path) -> None:
    empty = packed({"README.txt": b"moved"})
    assert "must contain NIfTI files, got none" in refusal(tmp_path, empty, packed(original(0)))


def test_members_outside_the_folder_are_unpacked_by_their_base_names(tmp_path: Path) -> None:
    outside = {
        f"../../../{CASES[0]}.nii.gz": b"scan",
        f"{tmp_path}\\{CASES[1]}.nii.gz": b"scan",
    }
    unpack_both(tmp_path, packed(outside), packed(original(3)))
    assert files_below(tmp_path) == [
        SCANS,
        MASKS,
        *(f"dataset/{name}" for name in ALL_FILES if "downloads" not in name),
    ]


def test_other_members_are_ignored(tmp_path: Path) -> None:
    extras = {
        "../../evil.sh": b"#!",
        "__MACOSX/._coronacases_001.nii.gz": b"",
        "masks.nii/": b"",
        "README.txt": b"",
    }
    unpack_both(tmp_path, packed(original(0) | extras), packed(original(3)))
    assert [path.name for path in sorted((tmp_path / "dataset" / "scans").iterdir())] == [
        f"{case}.nii.gz" for case in CASES
    ]


def test_unknown_name(tmp_path: Path) -> None:
    scans = packed(original(0) | {"evil\n.nii": nifti(0)})
    assert r"got 'evil\n.nii'; rename or" in refusal(tmp_path, scans, packed(original(3)))


def test_scan_without_mask(tmp_path: Path) -> None:
    incomplete = packed({f"{CASES[0]}.nii.gz": b""})
    line = refusal(tmp_path, packed(original(0)), incomplete)
    assert line.startswith(
        "every case must be in scans and in masks, got none in masks for radiopaedia_10_85902_1;"
    )


def test_mask_without_scan(tmp_path: Path) -> None:
    incomplete = packed({f"{CASES[1]}.nii.gz": b""})
    line = refusal(tmp_path, incomplete, packed(original(0)))
    assert "got none in scans for coronacases_001; add the files to `COVID-19-CT-Seg" in line


@pytest.mark.parametrize(
    "again", ["coronacases_org_001.nii", "old/coronacases_001.nii.gz", "coronacases_001.nii.gz"]
)
def test_case_twice(tmp_path: Path, again: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of the same name twice
        buffer = io.BytesIO(packed(original(0)))
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(again, nifti(0))
    line = refusal(tmp_path, buffer.getvalue(), packed(original(3)))
    assert f"must contain every case once, got 'coronacases_001.nii.gz' and '{again}'" in line


def test_too_large_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST_MEMBER_BYTES", 300)
    scans = packed({name: nifti(0) for name in MIRRORED})
    line = refusal(tmp_path, scans, packed(original(3)))
    assert line.startswith(f"a member of `{SCANS}` must unpack to at most 300 bytes and")


def test_member_with_an_impossible_compression_ratio(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as bomb:
        bomb.writestr("coronacases_001.nii", bytes(1_000_000))
    line = refusal(tmp_path, buffer.getvalue(), packed(original(3)))
    assert "at most 1100 times its packed size, got 'coronacases_001.nii' with 1000000" in line


def test_empty_mask_is_no_zip_bomb(tmp_path: Path) -> None:
    empty = {name: bytes(3_000_000) for name in MIRRORED}
    unpack_both(tmp_path, packed(original(0)), packed(empty))
    file = tmp_path / "dataset" / "masks" / "coronacases_001.nii.gz"
    assert gzip.decompress(file.read_bytes()) == bytes(3_000_000)


def test_the_real_archives_have_complete_digests() -> None:
    assert list(COVID19.archives) == ["scans", "masks"]
    for archive in COVID19.archives.values():
        assert re.fullmatch("[0-9a-f]{64}", archive.sha256)


def test_dataset_file_keeps_the_scans_of_a_patient_together() -> None:
    spec = load_spec(DATASET_YAML)
    assert spec.patient_of("coronacases_001") == "coronacases_001"
    assert spec.patient_of("coronacases_010") == "coronacases_010"
    assert spec.patient_of("radiopaedia_10_85902_1") == "radiopaedia_10"
    assert spec.patient_of("radiopaedia_10_85902_3") == "radiopaedia_10"
    assert spec.patient_of("radiopaedia_29_86490_1") == "radiopaedia_29"
    assert spec.patient_of("radiopaedia_29_86491_1") == "radiopaedia_29"


def test_dataset_file_declares_the_intensity_of_each_source() -> None:
    spec = load_spec(DATASET_YAML)
    assert spec.intensity_of("coronacases_001") == IntensityScale(None)
    assert spec.intensity_of("radiopaedia_4_85506_1") == IntensityScale((-1250, 250))
