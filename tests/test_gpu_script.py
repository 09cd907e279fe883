"""The script `tests/benchmarks/gpu.sh`: its arguments, its tables, and the choice of wheels."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu  # noqa: E402
import gpu_pack  # noqa: E402
from gpu_table import GpuSampler, Table, cell, mean_busy, parse_sample, peak_memory  # noqa: E402

SAMPLES = [(10.0, 0.0, 500.0), (10.2, 80.0, 900.0), (10.4, 90.0, 800.0), (10.6, 100.0, 7000.0)]


class NoSamples(GpuSampler):
    """Samples without a GPU."""

    def __init__(self) -> None:
        self.samples = []


def printing(*lines: str, status: int = 0) -> tuple[str, ...]:
    """Return a command that prints lines."""
    return (sys.executable, "-c", f"print({chr(10).join(lines)!r}); raise SystemExit({status})")


def rows_of(path: Path) -> list[str]:
    """Return the rows of the tables without headings."""
    lines = path.read_text().splitlines()
    return [line for line in lines if line.startswith("| ") and "| value |" not in line]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the first argument must be pack or run, got ''"),
        (["measure"], "the first argument must be pack or run, got 'measure'"),
        (["run"], "run needs the folder that `gpu.sh pack FOLDER` wrote"),
        (["run", "no-such-folder"], "there are no wheels in 'no-such-folder'"),
    ],
)
def test_the_script_names_a_wrong_argument(arguments: list[str], message: str) -> None:
    done = subprocess.run(
        ["bash", str(BENCHMARKS / "gpu.sh"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "0"], "--seconds must be above 0, got 0"),
        (["--records", "missing"], "--records must name a folder with index.json, got missing"),
        (["--params", "missing"], "--params must name a file, got missing"),
        (["--parts", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_run_names_a_wrong_option(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        gpu.parse(arguments)
    assert message in capsys.readouterr().err


def test_a_run_without_time_lists_what_it_left_out(tmp_path: Path) -> None:
    gpu.main(["--seconds", "1", "--out", str(tmp_path), "--parts", "predict"])
    assert rows_of(tmp_path / "gpu.md") == [
        "| not measured, time was up | machine; records; predict |"
    ]


def test_rows_before_a_failure_are_kept(tmp_path: Path) -> None:
    table = Table(tmp_path / "gpu.md", "Title")
    line = json.dumps(
        {"section": "Machine", "row": {"property": "cores", "value": 2}, "windows": {}}
    )
    part = gpu.Part("records", "Machine", 60, printing(line, "a warning", status=3))
    with (tmp_path / "log").open("w") as log:
        gpu.Runner(table, NoSamples(), log, cache=tmp_path).run(part, 60)
    assert rows_of(tmp_path / "gpu.md") == [
        "| cores | 2 |",
        "| records | ended with status 3; see gpu.log |",
    ]
    assert "a warning" in (tmp_path / "log").read_text()


def test_a_row_of_pytorch_has_its_speed_and_no_value_that_was_not_measured(tmp_path: Path) -> None:
    measured = {"batch": 8, "train": [123.4, 1.9], "first": 2.5, "window": [0.0, 1.0]}
    message = gpu.torch_message({"framework": "PyTorch", "network": "unet"})(measured)
    assert message["row"] == {
        "framework": "PyTorch",
        "network": "unet",
        "batch": 8,
        "one batch": 123.4,
        "first step s": 2.5,
    }
    table = Table(tmp_path / "gpu.md", "Title")
    table.add("Training", NoSamples().fill(message["row"], message["windows"]))
    assert rows_of(tmp_path / "gpu.md")[-1] == (
        "| PyTorch | unet | – | 8 | – | – | 123 | – | – | 2.50 | – | – | – | – | – |"
    )


def test_the_file_is_complete_after_each_row_and_in_the_order_of_its_sections(
    tmp_path: Path,
) -> None:
    table = Table(tmp_path / "gpu.md", "Title")
    table.add("Folds", {"fold": 0, "seconds": 12.34})
    first = (tmp_path / "gpu.md").read_text()
    table.add("Machine", {"property": "a|b\nc", "value": ""})
    assert first.startswith("# Title\n\n## Folds\n")
    assert (tmp_path / "gpu.md").read_text() == first.replace(
        "# Title\n",
        "# Title\n\n## Machine\n\n| property | value |\n|---|---|\n| a/b c | – |\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.md"]


def test_a_column_that_no_section_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="Folds has no column speed"):
        Table(tmp_path / "gpu.md", "Title").add("Folds", {"speed": 1.0})
    assert not (tmp_path / "gpu.md").exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.0, "0.000"),
        (1234.6, "1235"),
        (123.46, "123"),
        (12.346, "12.3"),
        (1.2346, "1.23"),
        (0.12346, "0.123"),
        (0.0000123, "1.2e-05"),
        (12345678, "12345678"),
    ],
)
def test_numbers_have_three_digits(value: Any, text: str) -> None:
    assert cell(value) == text


def test_busy_and_memory_are_those_of_the_window() -> None:
    assert mean_busy(SAMPLES, (10.1, 10.5)) == "85 %"
    assert peak_memory(SAMPLES, [(9.0, 10.1), (10.1, 10.5)]) == 900
    assert mean_busy(SAMPLES, (11.0, 12.0)) is None
    assert peak_memory(SAMPLES, [(11.0, 12.0)]) is None


def test_samples_that_the_driver_cannot_tell_are_left_out() -> None:
    assert parse_sample("37, 1024\n", 5.0) == (5.0, 37.0, 1024.0)
    assert parse_sample("[N/A], 1024\n", 5.0) is None
    assert parse_sample("\n", 5.0) is None


def test_the_sampler_reads_a_program_and_does_without_it() -> None:
    sampler = GpuSampler(printing("10, 200", "[N/A], 7", "30, 400"))
    sampler.wait()
    assert [sample[1:] for sample in sampler.samples] == [(10.0, 200.0), (30.0, 400.0)]
    sampler.close()
    missing = GpuSampler(["no-such-program-anywhere"])
    missing.close()
    assert missing.samples == []


def test_packages_are_pinned_as_in_the_constraints() -> None:
    constraints = "# comment\nPyYAML==6.0.3\ngoogle-crc32c==1.9.0\n"
    assert gpu_pack.pinned(["pyyaml", "google_crc32c"], constraints) == [
        "PyYAML==6.0.3",
        "google-crc32c==1.9.0",
    ]
    with pytest.raises(gpu_pack.PackError, match=r"constraints.txt must have .* lacks nosuch$"):
        gpu_pack.pinned(["nosuch", "pyyaml"], constraints)


def test_all_packages_of_the_list_are_in_the_constraints() -> None:
    names = gpu_pack.chosen([], folds=True)
    text = (gpu_pack.ROOT / "constraints.txt").read_text()
    assert len(gpu_pack.pinned(names, text)) == len(names) == len(set(names))


def test_packages_can_be_left_out_by_any_form_of_their_name() -> None:
    names = gpu_pack.chosen(["OpenCV_Python_Headless"], folds=False)
    assert set(gpu_pack.NEEDED) - set(names) == {"opencv-python-headless"}
    with pytest.raises(gpu_pack.PackError, match="--without must name packages of the list, got x"):
        gpu_pack.chosen(["x"], folds=True)


def test_too_many_bytes_are_an_error_that_names_the_largest_wheels() -> None:
    sizes = {"small-1-py3.whl": 2**20, "large-2-py3.whl": 3 * 2**20}
    gpu_pack.check_size(sizes, 4)
    with pytest.raises(
        gpu_pack.PackError,
        match=r"at most 3\.9 MiB, got 4\.0 MiB; .* the largest are large 3\.0, small 1\.0 MiB",
    ):
        gpu_pack.check_size(sizes, 3.9)


def test_pack_does_not_add_to_a_folder_that_has_files(tmp_path: Path) -> None:
    (tmp_path / "old.whl").touch()
    with pytest.raises(SystemExit, match="the folder must be new or empty, got"):
        gpu_pack.main([str(tmp_path)])
