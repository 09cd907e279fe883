"""The command as a program: postponed imports, and its end."""

import subprocess
import sys

import pytest


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_postponed_modules_are_imported_when_they_are_used() -> None:
    program = """
import sys
from thorax.cli.fast_imports import import_nibabel, import_scipy
import_nibabel()
import_scipy()
assert "pydicom" not in sys.modules
import nibabel, numpy, pydicom, scipy
from scipy.special import expit
print(expit(0.0), scipy.special.comb(4, 2), numpy.f2py.__name__, pydicom.__name__)
print(scipy.ndimage.rotate(numpy.eye(2), 90).round().tolist())
"""
    result = python(program)
    assert result.stderr == ""
    assert result.stdout == "0.5 6.0 numpy.f2py pydicom\n[[0.0, 1.0], [1.0, 0.0]]\n"


@pytest.mark.parametrize("arguments", ["predict --help", "--version", "model list"])
def test_functions_at_exit_run(arguments: str) -> None:
    program = "import atexit; atexit.register(print, 'ended'); from thorax.cli import run; run()"
    result = python(program, *arguments.split())
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "ended")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [("predict missing.nii.gz mask.nii.gz", 1), ("predict", 2), ("unknown", 2)],
)
def test_an_error_is_the_status_of_the_program(arguments: str, status: int) -> None:
    result = python("from thorax.cli import run; run()", *arguments.split())
    assert result.returncode == status
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr
