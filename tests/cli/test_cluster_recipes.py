"""The recipes of `docs/cluster.md`; `tests/cluster` runs the script of SLURM."""

import subprocess
from pathlib import Path

import pytest
import yaml

from thorax.inference.manifest.parts import COUNT_VARIABLE, Part, part_of_array

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_shows_the_script_that_the_tests_run() -> None:
    script = (DOCS / "slurm-array.sh").read_text()
    assert f"```bash\n{script}```\n" in (DOCS / "cluster.md").read_text()
    subprocess.run(["bash", "-n", DOCS / "slurm-array.sh"], check=True)


def test_each_pod_of_the_kubernetes_job_has_its_part() -> None:
    job = yaml.safe_load((DOCS / "kubernetes-job.yaml").read_text())["spec"]
    (container,) = job["template"]["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    parts = [
        part_of_array(variables | {"JOB_COMPLETION_INDEX": str(index)})
        for index in range(job["completions"])
    ]
    assert [part and (part.number, part.count) for part in parts] == [
        (number, 16) for number in range(1, 17)
    ]


@pytest.mark.parametrize(
    "variables",
    [
        {"PBS_ARRAY_INDEX": "3", COUNT_VARIABLE: "16"},
        {"PBS_ARRAYID": "3", COUNT_VARIABLE: "16"},
        {
            "SGE_TASK_ID": "3",
            "SGE_TASK_FIRST": "1",
            "SGE_TASK_LAST": "16",
            "SGE_TASK_STEPSIZE": "1",
        },
        {"LSB_JOBINDEX": "3", "LSB_JOBINDEX_STEP": "1", "LSB_JOBINDEX_END": "16"},
        {"AWS_BATCH_JOB_ARRAY_INDEX": "2", "AWS_BATCH_JOB_ARRAY_SIZE": "16"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_the_third_task_of_the_other_systems_has_the_third_part(variables: dict[str, str]) -> None:
    part = part_of_array(variables)
    assert part == Part(3, 16, part.source if part else "")


def test_the_image_has_all_files_that_an_installation_needs() -> None:
    definition = (DOCS / "thorax.def").read_text().splitlines()
    files = [line.split()[0] for line in definition if line.startswith("    ") and "/opt" in line]
    copied = {name for name in files if (DOCS.parent / name).exists()}
    assert copied >= {"setup.cfg", "pyproject.toml", "src", "README.md", "LICENSE"}
