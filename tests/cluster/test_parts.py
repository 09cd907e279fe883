"""`thorax predict` as the array of jobs of `docs/slurm-array.sh`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .batches import done_in_log, log_rows, results, submit_array, thorax, times_started
from .conftest import DAMAGED, SCANS
from .slurm import Slurm, wait_for

pytestmark = pytest.mark.cluster

CASES = {f"{number:02d}" for number in range(SCANS)}


@pytest.fixture(scope="module")
def expected(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the masks and the manifest of one process."""
    masks = tmp_path_factory.mktemp("one") / "masks"
    answer = thorax("predict", scans, masks)
    assert f"{SCANS - 1} done, 1 failed" in answer.stderr
    assert len(list(masks.glob("*.nii.gz"))) == SCANS - 1
    return results(masks)


@pytest.mark.parametrize("tasks", ["1-4", "0-3", "3-9:2"])
def test_four_jobs_give_the_masks_and_the_manifest_of_one_process(
    slurm: Slurm, scans: Path, expected: dict[str, bytes], tmp_path: Path, tasks: str
) -> None:
    masks = tmp_path / "masks"
    states = slurm.wait(submit_array(slurm, tmp_path, scans, masks, tasks=tasks))
    # The fourth part has the damaged scan.
    assert sorted(states.values()) == ["COMPLETED", "COMPLETED", "COMPLETED", "FAILED"]
    started = [times_started(masks, part, 4) for part in range(1, 5)]
    assert sorted(case for part in started for case in part.elements()) == sorted(CASES)
    merged = thorax("manifest", masks)
    assert merged.returncode == 1
    assert f"{SCANS - 1} done, 1 failed, 0 missing or unfinished" in merged.stderr
    assert results(masks) == expected


def kill(slurm: Slurm, task: str) -> None:
    """Kill all processes of a task, as for lack of memory, and requeue the failed task."""
    slurm.run("scancel", "--signal=KILL", "--full", task)
    assert slurm.wait(task) == {task: "FAILED"}
    slurm.run("scontrol", "requeue", task)


def preempt(slurm: Slurm, task: str) -> None:
    """Requeue a running task, as for a job of higher priority."""
    slurm.run("scontrol", "requeue", task)


@pytest.mark.parametrize("stop", [kill, preempt])
def test_a_task_that_was_stopped_and_requeued_goes_on(
    slurm: Slurm,
    scans: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    stop: Callable[[Slurm, str], None],
) -> None:
    masks = tmp_path / "masks"
    job = submit_array(slurm, tmp_path, scans, masks, tasks="1-2")
    wait_for(lambda: len(done_in_log(masks, 1, 2)) >= 2, "part 1 has not two masks")
    stop(slurm, f"{job}_1")
    wait_for(lambda: slurm.states(f"{job}_1")[f"{job}_1"] == "PENDING", "part 1 is not requeued")
    finished = done_in_log(masks, 1, 2)
    before = {case: (masks / f"{case}.nii.gz").stat().st_mtime_ns for case in finished}
    assert 2 <= len(finished) < SCANS // 2  # stopped before its end

    assert set(slurm.wait(job).values()) == {"COMPLETED", "FAILED"}
    assert slurm.restarts(f"{job}_1") == 1
    started = times_started(masks, 1, 2)
    assert {case: started[case] for case in finished} == dict.fromkeys(finished, 1)
    merged = thorax("manifest", masks)
    assert f"{SCANS - 1} done, 1 failed, 0 missing or unfinished" in merged.stderr
    assert results(masks) == expected
    assert not list(masks.glob(".part*"))
    assert before == {case: (masks / f"{case}.nii.gz").stat().st_mtime_ns for case in finished}


def test_a_part_that_never_ran_is_named(slurm: Slurm, scans: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    job = submit_array(slurm, tmp_path, scans, masks, tasks="1-3,4", options=("--begin=now+1hour",))
    slurm.run("scontrol", "update", f"JobId={job}_1", "StartTime=now")
    slurm.wait(f"{job}_1")
    merged = thorax("manifest", masks)
    assert merged.returncode == 1
    missing = sorted(CASES - {case for case, _ in log_rows(masks, 1, 4)})
    assert len(missing) == 6
    named = [line.split(":")[1].strip() for line in merged.stdout.splitlines()]
    assert named == missing
    slurm.run("scancel", job)


def test_two_runs_of_one_part(
    slurm: Slurm, scans: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """The second run ends with an error; nothing is done twice."""
    masks = tmp_path / "masks"
    job = submit_array(slurm, tmp_path, scans, masks, tasks="1-2")
    wait_for(lambda: bool(log_rows(masks, 1, 2)), "part 1 has not started a scan")
    second = thorax("predict", scans, masks, "--part", "1/2")
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1] == (
        f"Error: another `thorax predict` (part 1/2) is writing to {masks}; wait for it, or choose "
        "another output folder"
    )
    slurm.wait(job)
    assert set(times_started(masks, 1, 2).values()) == {1}
    thorax("manifest", masks)
    assert results(masks) == expected


@pytest.mark.parametrize("other", [(), ("--part", "1/3")])
def test_a_whole_batch_or_another_count_of_parts_beside_parts(
    slurm: Slurm, scans: Path, expected: dict[str, bytes], tmp_path: Path, other: tuple[str, ...]
) -> None:
    masks = tmp_path / "masks"
    job = submit_array(slurm, tmp_path, scans, masks, tasks="1-2")
    wait_for(lambda: bool(log_rows(masks, 1, 2)), "part 1 has not started a scan")
    second = thorax("predict", scans, masks, *other)
    assert second.returncode == 1
    assert "is writing to" in second.stderr.splitlines()[-1]
    slurm.wait(job)
    thorax("manifest", masks)
    assert results(masks) == expected


def test_a_node_without_the_model_loses_no_other_part(
    slurm: Slurm, scans: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    masks, model = tmp_path / "masks", tmp_path / "lungs.onnx"
    job = submit_array(slurm, tmp_path, scans, masks, "--model", model, tasks="1-1")
    assert slurm.wait(job) == {f"{job}_1": "FAILED"}
    log = (tmp_path / f"{job}_1.log").read_text()
    assert str(model) in log
    assert "Traceback" not in log
    assert DAMAGED in CASES
