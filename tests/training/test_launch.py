"""Number of processes from the environment, and the watcher of a process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.training.launch import ADDRESSES, Launch, read_launch

SOURCE = Path(__file__).parents[2] / "src"
KERAS = {
    ADDRESSES: "node1:12345,node2:12345",
    "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    "KERAS_DISTRIBUTION_PROCESS_ID": "1",
}
SLURM = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}


@pytest.mark.parametrize(
    ("environment", "launch"),
    [
        pytest.param({}, Launch(), id="nothing set"),
        pytest.param(KERAS, Launch(2, 1, "node1:12345"), id="Keras"),
        pytest.param(SLURM, Launch(4, 3), id="SLURM finds the address"),
        pytest.param(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, Launch(), id="one task"),
        pytest.param(SLURM | KERAS, Launch(2, 1, "node1:12345"), id="Keras before SLURM"),
        pytest.param(
            {"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "0", ADDRESSES: "[::1]:99"},
            Launch(8, 0, "[::1]:99"),
            id="Open MPI with an address",
        ),
    ],
)
def test_processes_are_those_of_the_launcher(environment: dict[str, str], launch: Launch) -> None:
    assert read_launch(environment) == launch


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"KERAS_DISTRIBUTION_NUM_PROCESSES": "two"},
            r"KERAS_DISTRIBUTION_NUM_PROCESSES must be a number from 1 to 65536, got two; set it",
        ),
        (
            {"KERAS_DISTRIBUTION_PROCESS_ID": "2"},
            r"KERAS_DISTRIBUTION_PROCESS_ID must be a number from 0 to 1, got 2; set it",
        ),
        (
            {"KERAS_DISTRIBUTION_PROCESS_ID": ""},
            r"KERAS_DISTRIBUTION_PROCESS_ID must be .*, got nothing; set it",
        ),
        ({ADDRESSES: "node1"}, rf"{ADDRESSES} must start with .*, as in node1:12345, got node1; "),
        ({ADDRESSES: ""}, rf"{ADDRESSES} must start with .*, got nothing; set it to the same"),
        ({ADDRESSES: ":12345"}, rf"{ADDRESSES} must start with .*, got :12345; set it"),
    ],
)
def test_wrong_variables_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_launch(KERAS | changes)


WATCHED = "from thorax.training.launch import end_process, watch_process\nwatch_process()\n"


def run(code: str, environment: dict[str, str] = KERAS) -> subprocess.CompletedProcess[str]:
    """Run Python code after the start of a watcher."""
    inherited = {name: text for name, text in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", WATCHED + code],
        env=inherited | {"PYTHONPATH": str(SOURCE)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_process_leaves_one_line(number: signal.Signals) -> None:
    """JAX ends a process by SIGABRT."""
    done = run(f"import os; os.kill(os.getpid(), {int(number)})")
    assert done.returncode == -number
    assert done.stderr == (
        "thorax: process 1 was stopped, usually because another process of the training ended; see "
        "the messages of the others, and start all again to resume after the last finished epoch\n"
    )


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("", 0, ""),
        ("import sys; sys.exit('thorax: bad')", 1, "thorax: bad\n"),
        ("import sys; print('bad', file=sys.stderr); end_process(3)", 3, "bad\n"),
    ],
)
def test_a_process_that_ends_itself_has_its_own_message(
    code: str, status: int, message: str
) -> None:
    done = run(code)
    assert (done.returncode, done.stderr) == (status, message)


def test_messages_of_native_libraries_are_hidden_unless_they_are_asked_for() -> None:
    code = "import os; os.write(1, b'[Gloo] 1\\n'); os.write(2, b'[Gloo] 2\\n'); print('result')"
    done = run(code)
    assert (done.stdout, done.stderr) == ("result\n", "")
    done = run(code, KERAS | {"TF_CPP_MIN_LOG_LEVEL": "0"})
    assert (done.stdout.count("[Gloo]"), done.stderr) == (1, "[Gloo] 2\n")


def test_a_training_in_one_process_has_no_watcher() -> None:
    done = run("import os; os.kill(os.getpid(), 9)", {"KERAS_DISTRIBUTION_NUM_PROCESSES": "1"})
    assert (done.returncode, done.stderr) == (-9, "")
