"""`thorax predict` as the array of jobs of `docs/slurm-array.sh`."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from thorax.models.packaged import DEFAULT_MODEL, find_model

from .batches import done_in_log, log_rows, results, submit_array, thorax, times_started
from .conftest import SCANS
from .slurm import Slurm, wait_for

pytestmark = pytest.mark.cluster

CASES = {f"{number:02d}" for number in range(SCANS)}


@pytest.mark.parametrize("tasks", ["1-4", "3-9:2"])
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


@contextmanager
def paused(slurm: Slurm, task: str) -> Iterator[None]:
    """Stop the processes of a task meanwhile, which a fast machine would finish."""
    processes = slurm.processes(task)
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def kill(slurm: Slurm, task: str) -> None:
    """Kill the processes of a task, as the kernel does for lack of memory, and requeue it."""
    for process in slurm.processes(task):
        process.kill()
    assert slurm.wait(task) == {task: "FAILED"}
    slurm.run("scontrol", "requeue", task)


def cancel(slurm: Slurm, task: str) -> None:
    """Kill a task with a command of SLURM, and requeue it."""
    slurm.run("scancel", "--signal=KILL", "--full", task)
    assert slurm.wait(task) == {task: "CANCELLED"}
    slurm.run("scontrol", "requeue", task)


def preempt(slurm: Slurm, task: str) -> None:
    """Requeue a running task, as for a job of higher priority."""
    slurm.run("scontrol", "requeue", task)


@pytest.mark.parametrize("stop", [kill, cancel, preempt])
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
    with paused(slurm, f"{job}_1"):
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
    with paused(slurm, f"{job}_1"):
        second = thorax("predict", scans, masks, *other)
    assert second.returncode == 1
    assert "is writing to" in second.stderr.splitlines()[-1]
    slurm.wait(job)
    thorax("manifest", masks)
    assert results(masks) == expected


def test_a_node_without_the_model(
    slurm: Slurm, scans: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """Its part ends with an error; with the model, the same job finishes the batch."""
    masks, models = tmp_path / "masks", tmp_path / "models"
    first, second = (models / node / "lungs.onnx" for node in slurm.nodes)
    for model in (first, second):
        model.parent.mkdir(parents=True)
    shutil.copy(find_model(DEFAULT_MODEL), second)
    script = f"exec thorax predict {scans} {masks} --model {models}/$SLURMD_NODENAME/lungs.onnx"
    log = tmp_path / "%a.log"
    job = slurm.submit("--exclusive", "--array=1-2", f"--output={log}", f"--wrap={script}")
    # The second part has the damaged scan.
    states = slurm.wait(job)
    assert set(states.values()) == {"FAILED"}
    (stopped,) = (n for n in (1, 2) if not times_started(masks, n, 2))
    assert f"Error: there is no model {first}" in (tmp_path / f"{stopped}.log").read_text()
    assert "4 missing" in thorax("manifest", masks).stderr

    shutil.copy(second, first)
    slurm.run("scontrol", "requeue", f"{job}_{stopped}")
    slurm.wait(job)
    thorax("manifest", masks)
    assert results(masks) == expected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk with space for some of the masks."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up(
    slurm: Slurm, scans: Path, expected: dict[str, bytes], tmp_path: Path, small_disk: Path
) -> None:
    masks = small_disk / "masks"
    job = submit_array(slurm, tmp_path, scans, masks, tasks="1-2")
    assert set(slurm.wait(job).values()) == {"FAILED"}
    for log in tmp_path.glob("*.log"):
        assert "No space left on device" in log.read_text()
        assert "Traceback" not in log.read_text()
    whole = {path.name: path.read_bytes() for path in masks.glob("*.nii.gz")}
    assert 1 <= len(whole) < SCANS - 1
    assert {name: expected[name] for name in whole} == whole

    subprocess.run(["mount", "-o", "remount,size=9m", small_disk], check=True)
    for task in (1, 2):
        slurm.run("scontrol", "requeue", f"{job}_{task}")
    slurm.wait(job)
    thorax("manifest", masks)
    assert results(masks) == expected
