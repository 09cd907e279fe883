"""How a stage ends when something is wrong."""

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


def test_what_the_user_can_mend_is_one_line_and_status_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "thorax.pipeline.prepare"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr == "thorax: params.yaml cannot be read: No such file or directory\n"
    assert answer.stdout == ""


def test_an_interruption_is_status_130_without_a_word() -> None:
    with pytest.raises(SystemExit) as stopped:
        run(end_with(KeyboardInterrupt()))
    assert stopped.value.code == 130


def test_a_defect_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(end_with(ZeroDivisionError()))


def test_an_input_error_is_told_by_name(fails: Fails) -> None:
    assert fails(end_with(InputError("no air"))) == "no air"


def test_words_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log("breathe in")
    assert capsys.readouterr() == ("", "breathe in\n")


@pytest.mark.parametrize(
    ("changes", "line"),
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
def test_params_that_will_not_do_stop_a_stage(
    set_params: Callable[..., None], fails: Fails, changes: dict[str, object], line: str
) -> None:
    set_params(**changes)
    assert fails(main) == line
