"""What figures were measured on."""

import platform
import socket
from pathlib import Path

from thorax.hardware import _processor, describe_machine, versions


def test_the_machine_is_told_and_not_its_name() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0
    assert machine["python"] == platform.python_version()
    assert socket.gethostname() not in machine.values()


def test_the_processor_is_what_the_kernel_calls_it(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Abacus 3000\n\nmodel name\t: Abacus 3000\n")
    assert _processor(info) == "Abacus 3000"


def test_without_that_the_architecture_stands_in(tmp_path: Path) -> None:
    assert _processor(tmp_path / "none") == platform.machine()


def test_versions_are_those_installed() -> None:
    import numpy

    assert versions(["numpy"]) == {"numpy": numpy.__version__}
