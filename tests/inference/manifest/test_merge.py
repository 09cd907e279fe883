"""Parts of a batch, and the manifest of all of them."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import HU
from thorax.inference.batch import PredictOptions, predict_folder
from thorax.inference.inputs import find_tasks
from thorax.inference.manifest.files import Manifest, ManifestFiles
from thorax.inference.manifest.log import ManifestLog
from thorax.inference.manifest.merge import MergedManifest, describe_problems, merge_manifest
from thorax.inference.manifest.parts import Part
from thorax.inference.manifest.row import FAILED
from thorax.inference.segmenter import Model, Segmenter
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.spec import ModelSpec

from ...learning import pointwise

SaveNifti = Callable[..., Path]
SPEC = ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)})
TABLES = {"manifest.csv", "manifest.json", "timings.csv"}


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """Return a segmenter that segments voxels of at least 250 HU as lung."""
    engine = KerasEngine(pointwise([[80]], [-20], canvas=8), SPEC.window)
    return Segmenter([Model(SPEC, engine, "a" * 64)])


@pytest.fixture
def scans(save_nifti: SaveNifti, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of five scans; the fourth is broken."""
    for count in (1, 2, 3, 5):
        voxels = np.full((8, 8, 8), -1000, np.int16)
        voxels[:2, 2:4, :count] = 500
        save_nifti(f"scans/s{count}.nii.gz", voxels)
    (tmp_path / "scans/s4.nii.gz").write_text("not an image")
    monkeypatch.chdir(tmp_path)
    return Path("scans")


def run(segmenter: Segmenter, scans: Path, masks: str, part: Part | None) -> list[str]:
    """Segment a part; return the reported cases that were segmented anew."""
    segmented: list[str] = []
    predict, mine = segmenter.predict, Path(masks)

    def counted(preprocessed: Any, **others: Any) -> Any:
        segmented.append(preprocessed.scan.path.name.partition(".")[0])
        return predict(preprocessed, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "predict", counted)
        predict_folder(
            segmenter,
            find_tasks([scans], mine),
            PredictOptions(intensity=HU),
            folder=mine,
            report=lambda row: None,
            part=part,
        )
    return segmented


def contents(folder: str) -> dict[str, bytes]:
    """Return the content of all files but the durations."""
    paths = (path for path in Path(folder).iterdir() if path.name != "timings.csv")
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize("count", [2, 3, 7])
def test_parts_give_the_bytes_of_one_run(segmenter: Segmenter, scans: Path, count: int) -> None:
    run(segmenter, scans, "whole", None)
    segmented = [
        case
        for number in range(count, 0, -1)
        for case in run(segmenter, scans, "parts", Part(number, count))
    ]
    assert sorted(segmented) == ["s1", "s2", "s3", "s5"]
    assert not TABLES & set(os.listdir("parts"))  # noqa: PTH208
    merged = merge_manifest(Path("parts"))
    assert contents("parts") == contents("whole")
    assert [row.case for row in merged.rows] == ["s4", "s1", "s2", "s3", "s5"]
    assert [row.case for row in merged.with_status(FAILED)] == ["s4"]


def test_missing_and_unfinished_scans_are_named(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans, "masks", Part(1, 2))  # s1, s3, s5
    log = Path("masks/.manifest-1-of-2.jsonl")
    # The part was killed while it segmented the last scan.
    log.write_text(log.read_text().rpartition("\n")[0])
    merged = merge_manifest(Path("masks"))
    assert describe_problems(merged) == [
        "Missing: s2: no part has started it",
        "Missing: s4: no part has started it",
        "Unfinished: s5: its part was stopped, or is running",
        "Check: s1: lung: nearly no volume on the right (0 mL)",
        "Check: s3: lung: nearly no volume on the right (0 mL)",
    ]
    table = Path("masks/manifest.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in table[1:]] == [
        ["s2", "missing"],
        ["s4", "missing"],
        ["s5", "started"],
        ["s1", "done"],
        ["s3", "done"],
    ]


def test_a_part_goes_on_after_it_was_killed(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans, "masks", Part(1, 2))
    log = Path("masks/.manifest-1-of-2.jsonl")
    log.write_text(log.read_text().rpartition("\n")[0])
    merge_manifest(Path("masks"))
    assert run(segmenter, scans, "masks", Part(1, 2)) == ["s5"]
    assert run(segmenter, scans, "masks", Part(2, 2)) == ["s2"]
    merged = merge_manifest(Path("masks"))
    assert describe_problems(merged)[0] == f"Failed: s4: {merged.rows[0].error}"
    assert {line.split(": ")[0] for line in describe_problems(merged)[1:]} == {"Check"}
    assert set(os.listdir("masks")) == TABLES | {  # noqa: PTH208
        f"s{number}.nii.gz" for number in (1, 2, 3, 5)
    }


def test_other_parts_or_a_whole_run_segment_nothing_twice(
    segmenter: Segmenter, scans: Path
) -> None:
    assert run(segmenter, scans, "masks", Part(1, 2)) == ["s1", "s3", "s5"]
    assert run(segmenter, scans, "masks", Part(2, 3)) == ["s2"]
    assert run(segmenter, scans, "masks", None) == []
    assert merge_manifest(Path("masks")).is_complete


def test_clocks_that_disagree_do_not_matter(segmenter: Segmenter, scans: Path) -> None:
    """The manifest seems to be newer than a log that was written after it."""
    run(segmenter, scans, "masks", Part(1, 2))
    merge_manifest(Path("masks"))
    run(segmenter, scans, "masks", Part(2, 2))
    os.utime("masks/manifest.json", (2**32, 2**32))
    assert merge_manifest(Path("masks")).is_complete


def test_a_whole_run_replaces_the_logs_of_parts(segmenter: Segmenter, scans: Path) -> None:
    """Their older rows must not replace those of later runs."""
    run(segmenter, scans, "masks", Part(1, 2))
    assert run(segmenter, scans, "masks", None) == ["s2"]
    assert not list(Path("masks").glob(".manifest-*-of-*.jsonl"))


def test_rows_that_were_added_during_the_merge_are_kept(segmenter: Segmenter, scans: Path) -> None:
    for number in (1, 2):
        run(segmenter, scans, "masks", Part(number, 2))
    files = ManifestFiles(Path("masks"))
    row = files.read()["s1"]
    ManifestLog(files.log_of(Part(1, 2))).append(replace(row, status=FAILED))
    files.remove_logs()
    assert [log.path.name for log in files.part_logs()] == [".manifest-1-of-2.jsonl"]
    assert files.read()["s1"].status == FAILED


def killed_batch(segmenter: Segmenter, scans: Path) -> None:
    """Leave the log of a whole batch that failed at each scan, and was killed then."""
    log = ManifestLog(Path("masks/.manifest.jsonl"))
    run(segmenter, scans, "masks", None)
    rows = Manifest(Path("masks")).rows.values()
    for path in Path("masks").iterdir():
        path.unlink()
    for row in rows:
        log.append(replace(row, status=FAILED, error="of the killed batch"))
    os.utime(log.path, (10**9, 10**9))


def errors() -> set[str]:
    rows = ManifestFiles(Path("masks")).read().values()
    return {row.error for row in rows if row.case != "s4"}


def test_the_log_of_a_killed_batch_is_removed_once_parts_have_finished_its_scans(
    segmenter: Segmenter, scans: Path
) -> None:
    killed_batch(segmenter, scans)
    for number in (1, 2):
        run(segmenter, scans, "masks", Part(number, 2))
    assert merge_manifest(Path("masks")).is_complete
    assert not list(Path("masks").glob(".*"))
    assert errors() == {""}


def test_a_log_that_is_older_than_the_manifest_does_not_replace_its_rows(
    segmenter: Segmenter, scans: Path
) -> None:
    """Its other rows are kept."""
    killed_batch(segmenter, scans)
    log = Path("masks/.manifest.jsonl").read_bytes()
    for number in (1, 2):
        run(segmenter, scans, "masks", Part(number, 2))
    merge_manifest(Path("masks"))
    stored = json.loads(Path("masks/manifest.json").read_bytes())
    kept = [row for row in stored if row["case"] != "s5"]
    Path("masks/manifest.json").write_text(json.dumps(kept))
    Path("masks/.manifest.jsonl").write_bytes(log)
    os.utime("masks/.manifest.jsonl", (10**9, 10**9))
    assert errors() == {"", "of the killed batch"}
    assert ManifestFiles(Path("masks")).read()["s5"].error == "of the killed batch"


def test_the_log_of_a_running_batch_is_kept(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans, "masks", None)
    with Manifest(Path("masks")).exclusive():
        assert merge_manifest(Path("masks")).is_complete
        assert Path("masks/.manifest.jsonl").exists()


def test_a_scan_that_was_removed_is_not_missing(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans, "masks", Part(1, 2))
    (scans / "s2.nii.gz").unlink()
    for number in (1, 2):
        run(segmenter, scans, "masks", Part(number, 2))
    assert merge_manifest(Path("masks")).is_complete


def test_two_batches_in_one_folder_are_both_complete_or_missing(
    segmenter: Segmenter, scans: Path
) -> None:
    """The second parts of one scan each are empty."""
    for name in ("s1", "s2"):
        Path(name).mkdir()
        (scans / f"{name}.nii.gz").rename(f"{name}/{name}.nii.gz")
        run(segmenter, Path(name), "masks", Part(2, 2))
    assert [row.case for row in merge_manifest(Path("masks")).rows] == ["s1", "s2"]


def test_a_changed_scan_is_segmented_anew(
    segmenter: Segmenter, scans: Path, save_nifti: SaveNifti
) -> None:
    for number in (1, 2):
        run(segmenter, scans, "masks", Part(number, 2))
    save_nifti("scans/s3.nii.gz", np.full((8, 8, 7), 500, np.int16))
    assert run(segmenter, scans, "masks", Part(1, 2)) == ["s3"]


def test_durations_are_kept(segmenter: Segmenter, scans: Path) -> None:
    for number in (1, 2):
        run(segmenter, scans, "masks", Part(number, 2))
    seconds = {case: row.seconds for case, row in Manifest(Path("masks")).rows.items()}
    merge_manifest(Path("masks"))
    assert {case: row.seconds for case, row in Manifest(Path("masks")).rows.items()} == seconds
    assert all("seconds" not in row for row in json.loads(Path("masks/manifest.json").read_text()))


# Batches at the same time


def is_refused(part: Part | None) -> bool:
    try:
        with Manifest(Path("masks"), part).exclusive():
            return False
    except InputError as error:
        assert "is writing to masks; wait for it, or choose another" in str(error)  # noqa: PT017
        return True


@pytest.mark.parametrize(
    ("running", "other", "refused"),
    [
        (Part(1, 2), Part(2, 2), False),
        (Part(1, 2), Part(1, 2), True),
        (Part(1, 2), Part(2, 3), True),
        (Part(1, 2), Part(1, 12), True),
        (Part(1, 2), None, True),
        (None, Part(1, 2), True),
        (None, None, True),
    ],
)
def test_which_batches_run_together(
    running: Part | None,
    other: Part | None,
    refused: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with Manifest(Path("masks"), running).exclusive():
        assert is_refused(other) is refused
    assert not is_refused(other)


def test_the_logs_of_a_running_part_are_kept(segmenter: Segmenter, scans: Path) -> None:
    for number in (1, 2):
        run(segmenter, scans, "masks", Part(number, 2))
    with Manifest(Path("masks"), Part(2, 2)).exclusive():
        merged = merge_manifest(Path("masks"))
    assert (merged.is_complete, merged.running) == (True, 1)
    assert Path("masks/.manifest-2-of-2.jsonl").exists()


def test_a_folder_can_be_moved(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans, "masks", None)
    Path("masks").rename("moved")
    assert run(segmenter, scans, "moved", None) == []


# Errors


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"there is no manifest in {tmp_path}; name a folder"):
        merge_manifest(tmp_path)


def test_a_damaged_list_of_scans(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans, "masks", Part(1, 2))
    (path,) = Path("masks").glob(".manifest-scans-*.json")
    path.write_text("[")
    with pytest.raises(InputError, match=rf"{path} is damaged; remove it"):
        merge_manifest(Path("masks"))


def test_an_empty_manifest_is_complete() -> None:
    assert MergedManifest(Path("manifest.csv"), [], 0).is_complete
