"""Exit status and message of a stage that fails."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.pipeline import log, run
from thorax.pipeline.prepare import main

Fails = Callable[[Callable[[], None]], str]


def end_with(error: BaseException) -> Callable[[], None]:
    def stage() -> None:
        raise error

    return stage


def test_an_input_error_is_one_line_and_status_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "thorax.pipeline.prepare"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr == "thorax: params.yaml cannot be read: No such file or directory\n"
    assert answer.stdout == ""


def test_an_interruption_is_status_130_without_a_message() -> None:
    with pytest.raises(SystemExit) as ended:
        run(end_with(KeyboardInterrupt()))
    assert ended.value.code == 130


def test_a_defect_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(end_with(ZeroDivisionError()))


def test_an_input_error_is_the_message_of_the_exit(fails: Fails) -> None:
    assert fails(end_with(InputError("no air"))) == "no air"


def test_the_log_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log("breathe in")
    assert capsys.readouterr() == ("", "breathe in\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"epoch": 1}}, "params.yaml: unknown key `train.epoch`"),
        ({"seed": "one"}, "params.yaml: `seed`: Input should be a valid integer, got 'one'"),
        (
            {"loss": "nonsense"},
            "params.yaml: `loss`: Input should be 'bce', 'dice', 'focal', 'bce_dice', "
            "'focal_dice', 'tversky', 'focal_tversky', 'lovasz' or 'generalised_dice', "
            "got 'nonsense'",
        ),
        (
            {"dataset": "nowhere"},
            "there is no data/nowhere/dataset.yaml; `thorax data add` writes one",
        ),
    ],
    ids=["unknown key", "wrong type", "unknown loss", "missing dataset"],
)
@pytest.mark.usefixtures("project")
def test_invalid_parameters_stop_a_stage(
    set_params: Callable[..., None], fails: Fails, changes: dict[str, object], message: str
) -> None:
    set_params(**changes)
    assert fails(main) == message
