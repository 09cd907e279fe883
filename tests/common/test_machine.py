"""Description of the machine."""

import platform
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from thorax.common.machine import (
    _instructions,
    _processor,
    cores,
    describe_machine,
    free_memory_bytes,
    kind_of_machine,
    return_freed_memory,
    share_freed_memory,
    versions,
)


def test_the_machine_is_described_without_its_name() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0
    assert machine["python"] == platform.python_version()
    assert socket.gethostname() not in machine.values()


def test_the_processor_has_the_name_of_the_kernel(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Abacus 3000\n\nmodel name\t: Abacus 3000\n")
    assert _processor(info) == "Abacus 3000"


def test_without_a_name_the_processor_is_its_architecture(tmp_path: Path) -> None:
    assert _processor(tmp_path / "none") == platform.machine()


@pytest.mark.parametrize(
    ("flags", "instructions"),
    [("fpu sse2", ""), ("avx fpu avx2", "avx2"), ("avx avx512_bf16 avx512f avx2", "avx512_bf16")],
)
def test_the_newest_instructions_are_named(tmp_path: Path, flags: str, instructions: str) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert _instructions(info) == instructions
    assert _instructions(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("limit", "free"),
    [
        pytest.param("3000\n", 2000, id="a limit of 3000 bytes, of which 1000 are used"),
        pytest.param("500\n", 0, id="a limit that was lowered"),
        pytest.param("max\n", None, id="no limit"),
    ],
)
def test_free_memory_is_that_of_the_control_group(
    tmp_path: Path, limit: str, free: int | None
) -> None:
    job, groups = tmp_path / "groups" / "slurm" / "job_7", tmp_path / "cgroup"
    job.mkdir(parents=True)
    (job / "memory.max").write_text(limit)
    (job / "memory.current").write_text("1000\n")
    groups.write_text("4:memory:/elsewhere\n0::/slurm/job_7\n")
    measured = free_memory_bytes(group=groups, groups=tmp_path / "groups")
    assert measured == free if free is not None else measured > 2**20
    assert free_memory_bytes(group=tmp_path / "none", groups=tmp_path) > 2**20


@pytest.mark.parametrize("limited", ["job_7", "job_7/step_0", "job_7/step_0/task_0"])
def test_a_limit_holds_for_the_groups_below(tmp_path: Path, limited: str) -> None:
    """SLURM limits a job and its steps; each process is in a group of its own below."""
    groups, group = tmp_path / "groups", tmp_path / "cgroup"
    for name in ("job_7/step_0/task_0", "job_7/step_0", "job_7"):
        (groups / name).mkdir(parents=True, exist_ok=True)
        (groups / name / "memory.max").write_text("3000\n" if name == limited else "max\n")
        (groups / name / "memory.current").write_text("1000\n")
    group.write_text("0::/job_7/step_0/task_0\n")
    assert free_memory_bytes(group=group, groups=groups) == 2000


def test_the_cache_of_files_is_free_memory(tmp_path: Path) -> None:
    """Of 2900 used bytes, 1500 are of files that were read: 100 + 1500 are left of 3000."""
    groups, group = tmp_path / "groups", tmp_path / "cgroup"
    groups.mkdir()
    (groups / "memory.max").write_text("3000\n")
    (groups / "memory.current").write_text("2900\n")
    (groups / "memory.stat").write_text(
        "anon 1300\nfile 1600\nshmem 100\ninactive_file 900\nactive_file 600\n"
    )
    group.write_text("0::/\n")
    assert free_memory_bytes(group=group, groups=groups) == 1600


def test_the_kind_of_a_machine_has_only_properties_that_metrics_depend_on() -> None:
    assert set(kind_of_machine()) == {"system", "instructions", "cores"}


@pytest.mark.parametrize(("limit", "cores"), [("1", 1), ("", None), ("all", None), ("4096", None)])
def test_a_limit_of_threads_is_reported(
    monkeypatch: pytest.MonkeyPatch, limit: str, cores: int | None
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", limit)
    assert kind_of_machine()["cores"] == (cores or describe_machine()["cores"])


def test_versions_are_those_installed() -> None:
    import numpy

    assert versions(["numpy"]) == {"numpy": numpy.__version__}


def test_freed_memory_is_returned_where_the_system_can() -> None:
    """Only large arrays are freed at once; these are smaller than the limit of malloc."""
    process = psutil.Process()
    pieces = [np.ones(2**13) for _ in range(2000)]
    # The last piece keeps the heap from shrinking by itself.
    kept, pieces = pieces[-1], pieces[:-1]
    used = process.memory_info().rss
    del pieces
    return_freed_memory()
    if platform.libc_ver()[0] == "glibc":
        assert process.memory_info().rss < used - 50 * 2**20
    assert kept[0] == 1


@pytest.mark.parametrize("call", [return_freed_memory, share_freed_memory])
def test_systems_without_these_functions(
    call: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thorax.common.machine.ctypes.CDLL", lambda name: object())
    call()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SLURM_CPUS_PER_TASK", "1", 1),
        ("NSLOTS", "1", 1),
        ("NSLOTS", "4096", cores()),
        ("NSLOTS", "undefined", cores()),
        ("NSLOTS", "0", cores()),
    ],
)
def test_a_job_uses_the_cores_that_it_was_given(
    name: str, value: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert cores() == expected
