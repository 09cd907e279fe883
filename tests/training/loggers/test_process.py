"""Process of a logger: whatever it does, the training gets one warning and goes on."""

import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from thorax.training.loggers.process import LoggerProcess
from thorax.training.loggers.run import RunDescription

EPOCH = {"event": "epoch", "row": {"epoch": 1, "loss": 0.5}}
FINISH = {"event": "finish", "metrics": {}, "model": "m"}
OFF = "warning: the logger fake is off for the rest of this training, which is not affected: "


def running(code: str, lines: list[str]) -> LoggerProcess:
    """Start a process of some code as a logger."""
    return LoggerProcess("fake", lines.append, command=[sys.executable, "-c", code])


def send_until_off(logger: LoggerProcess) -> None:
    """Send epochs until the logger is off."""
    for _ in range(1000):
        logger.send(EPOCH)
        if not logger.is_on:
            return
        time.sleep(0.01)
    pytest.fail("the logger is still on")


def test_messages_arrive_and_the_end_is_awaited(tmp_path: Path) -> None:
    received = tmp_path / "received"
    code = f"""
import sys
for line in sys.stdin:
    open({str(received)!r}, "a").write(line)
    if "finish" in line:
        print('{{"place": "here"}}', '{{"done": true}}', sep="\\n", flush=True)
"""
    lines: list[str] = []
    logger = running(code, lines)
    for _ in range(3):
        logger.send(EPOCH)
    logger.finish(FINISH)
    assert lines == ["logging to fake: here"]
    assert [line.split('"')[3] for line in received.read_text().splitlines()] == [
        "epoch", "epoch", "epoch", "finish",
    ]  # fmt: skip
    assert not logger.is_on


def test_a_process_that_reads_nothing_delays_nothing_but_the_end() -> None:
    """A pipe holds 64 KiB; the messages have over 1 MiB."""
    lines: list[str] = []
    logger = running("import time; time.sleep(600)", lines)
    message = {**EPOCH, "text": "x" * 1000}
    for _ in range(1100):
        logger.send(message)
    assert lines == []
    assert logger.is_on
    process = logger._process
    assert process
    logger.finish(FINISH, seconds=0.1)
    assert lines == [f"{OFF}it did not finish within 0.1 s"]
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param("""print('{"error": "no key"}', flush=True)""", "no key", id="error"),
        pytest.param("raise SystemExit(3)", "its process ended early", id="end"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "its process ended early", id="kill"),
        pytest.param("print('{{', flush=True)", "Expecting property name", id="no JSON"),
    ],
)
def test_after_an_error_the_logger_is_off_with_one_warning(code: str, reason: str) -> None:
    lines: list[str] = []
    logger = running(code, lines)
    send_until_off(logger)
    logger.send(EPOCH)
    logger.finish(FINISH)
    logger.abort()
    assert len(lines) == 1
    assert lines[0].startswith(OFF + reason)


def test_a_command_that_cannot_start_is_a_warning(tmp_path: Path) -> None:
    lines: list[str] = []
    logger = LoggerProcess("fake", lines.append, command=[str(tmp_path / "missing")])
    logger.finish(FINISH)
    assert lines == [f"{OFF}No such file or directory"]


def test_an_interrupted_training_closes_the_messages(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    code = f"import sys; list(sys.stdin); open({str(ended)!r}, 'w').write('aborted')"
    lines: list[str] = []
    logger = running(code, lines)
    logger.send(EPOCH)
    logger.abort(seconds=30)
    assert ended.read_text() == "aborted"
    assert lines == []


def test_processes_of_a_service_are_killed_too(tmp_path: Path) -> None:
    number = tmp_path / "number"
    code = f"""
import subprocess, sys, time
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(number)!r}, "w").write(str(below.pid) + ".")
time.sleep(600)
"""
    logger = running(code, [])
    while not number.exists() or not number.read_text().endswith("."):
        time.sleep(0.01)
    logger.abort(seconds=0.0)
    state = Path(f"/proc/{number.read_text()[:-1]}/stat")
    for _ in range(1000):  # the kernel ends a killed process a little later
        with suppress(FileNotFoundError, ProcessLookupError):
            if state.read_text().split()[2] not in "ZX":
                time.sleep(0.01)
                continue
        return
    pytest.fail("the process that the service started still runs")


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Return the address of a server on this machine that accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


WANDB = "wandb", {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40}, "WANDB_BASE_URL"
MLFLOW = "mlflow", {}, "MLFLOW_TRACKING_URI"


@pytest.mark.parametrize(("name", "environment", "address"), [WANDB, MLFLOW])
def test_a_server_that_never_answers_is_given_up(
    run: RunDescription,
    silent_server: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    environment: dict[str, str],
    address: str,
) -> None:
    pytest.importorskip(name)
    for key, value in {**environment, address: silent_server}.items():
        monkeypatch.setenv(key, value)
    lines: list[str] = []
    logger = LoggerProcess(name, lines.append)
    logger.send({"event": "start", "run": asdict(run), "resumed": False})
    logger.send(EPOCH)
    logger.finish(FINISH, seconds=2.0)
    (line,) = lines
    assert line.startswith(f"warning: the logger {name} is off")
    assert line.endswith("it did not finish within 2 s")


def test_a_folder_that_cannot_be_written_is_a_warning(run: RunDescription) -> None:
    Path(run.folder).write_text("not a folder")
    lines: list[str] = []
    logger = LoggerProcess("tensorboard", lines.append)
    logger.send({"event": "start", "run": asdict(run), "resumed": False})
    logger.finish(FINISH)
    (line,) = lines
    assert line.startswith("warning: the logger tensorboard is off")
    assert "Not a directory" in line
