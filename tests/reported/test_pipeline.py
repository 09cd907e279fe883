"""Public bug reports about the pipeline and DVC: experiments, folds and optional datasets."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from thorax.cli import main
from thorax.common.errors import InputError
from thorax.common.params import load_params

from ..end_to_end.project import SMALL, Project, copy_of_the_working_tree
from ..experiments.projects import commit, run, start_git
from ..experiments.test_execution import SWEEP, fill, finish, start
from ..learning import augmentation

ROOT = Path(__file__).parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture(autouse=True)
def _own_dvc_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for folder in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{folder}_DIR", str(tmp_path / "dvc" / folder))


# Two runs for each
@pytest.mark.slow
@pytest.mark.parametrize("worktree", [False, True], ids=["clone", "worktree"])
def test_runs_of_a_clone_of_depth_1_have_results(tmp_path: Path, worktree: bool) -> None:
    """dvc#6822, #7547: in a clone of depth 1 all runs failed, after the training or at once."""
    notes, origin, project = (tmp_path / name for name in ("notes", "origin", "project"))
    notes.mkdir()
    origin.mkdir()
    start_git(origin)
    fill(origin, notes)
    (origin / "README.md").touch()
    commit(origin)
    run(tmp_path, "git", "clone", "--quiet", "--depth", "1", origin.as_uri(), "project")
    if worktree:
        run(project, "git", "worktree", "add", "--quiet", str(tmp_path / "worktree"))
        project = tmp_path / "worktree"
    run(project, "git", "config", "user.name", "thorax")
    run(project, "git", "config", "user.email", "thorax@example.org")
    with (project / "score.py").open("a") as source:
        source.write("print('uncommitted')\n")
    assert run(project, "git", "rev-list", "--count", "HEAD") == "1\n"
    out, _ = finish(start(project, *SWEEP))
    assert out == "mean Dice by region\nloss    lung\nbce   0.3000\ndice  0.4000\n"
    assert run(project, "git", "rev-parse", "--is-shallow-repository") == "true\n"


def thorax(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="thorax")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project under git, which is the working directory; DVC is not started in it."""
    (tmp_path / "project/.dvc").mkdir(parents=True)
    (tmp_path / "project/.dvc/config").touch()
    (tmp_path / "project/params.yaml").write_text(yaml.safe_dump(PARAMS))
    start_git(tmp_path / "project")
    commit(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def add_study(root: Path, cases: int) -> None:
    """Add a dataset whose empty files git tracks itself."""
    for part in ("scans", "masks"):
        (root / "data/study" / part).mkdir(parents=True)
        for number in range(cases):
            (root / "data/study" / part / f"case_{number}.nii.gz").touch()
    (root / "data/study/dataset.yaml").write_text("regions: {lung: [1]}\n")


def refusal(*arguments: str) -> str:
    """Run a command that starts no run; return its message."""
    result = thorax(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    *_, line = result.stderr.splitlines()
    assert "started" not in result.stderr
    return line


CROSS_VALIDATE = ("cross-validate", "-S", "dataset=study")


def test_a_study_that_is_not_in_git_is_refused_before_the_first_run(project: Path) -> None:
    """dvc#5801, #6465: every queued run failed with "[Errno 2] ... dataset.yaml"."""
    add_study(project, 6)
    run(project, "git", "add", "data/study/scans", "data/study/masks")
    assert refusal(*CROSS_VALIDATE) == (
        "Error: runs use files under git, but data/study/dataset.yaml is not; run "
        "`git add data/study`"
    )
    assert "data/study/dataset.yaml is not" in refusal(
        "sweep", "-S", "loss=bce,dice", "-S", "dataset=study"
    )


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        (
            1,
            "but there is 1; train a final model on all cases with -S split.fold=none "
            "-S split.validation=0",
        ),
        (
            2,
            "but there are 2; use -S split.folds=2 -S split.validation=0, or -S split.fold=none "
            "for a final model without test cases",
        ),
    ],
)
def test_too_few_cases_are_reported_with_the_settings_that_work(
    project: Path, cases: int, message: str
) -> None:
    """nnUNet#193, #1933: one or two cases failed after `prepare`, without a way out."""
    add_study(project, cases)
    commit(project)
    assert refusal(*CROSS_VALIDATE) == f"Error: `folds: 5` needs as many patients, {message}"


def test_a_study_of_two_patients_is_added_with_the_settings_that_work(
    project: Path, study: Path
) -> None:
    """nnUNet#193, #1933: the way out is printed before anything is run."""
    regions = ("--region", "lung=1,2", "--region", "infection=2")
    about = ("--patient", "([a-z]+)-", "--intensity", "hu")
    added = thorax("data", "add", str(study), "--name", "ward", *regions, *about)
    assert added.stdout == (
        "data/ward: 3 cases. Next: git add data/ward; dvc exp run -S dataset=ward\n"
    )
    assert added.stderr.splitlines()[-1] == (
        "Note: `folds: 5` needs as many patients, but there are 2; use -S split.folds=2 "
        "-S split.validation=0, or -S split.fold=none for a final model without test cases"
    )


def test_a_case_name_that_is_read_as_a_number_is_reported_with_its_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dvc#8376: `-S 'split.test=[1e5]'` is a number, and the message did not mention quotes."""
    from dvc.utils.hydra import apply_overrides

    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    apply_overrides(tmp_path / "params.yaml", ["split.test=[1e5]"])
    with pytest.raises(InputError) as refused:
        load_params()
    quoted = "split.test=['1e5']"
    assert str(refused.value) == (
        "params.yaml: `split.test.0`: a case name that looks like a number needs quotes, "
        f"`test: ['1e5']` in params.yaml or -S \"{quoted}\" in a shell, got 100000.0"
    )
    # The advice works, also as a shell passes it on.
    assert run(tmp_path, "sh", "-c", f'printf %s "{quoted}"') == quoted
    apply_overrides(tmp_path / "params.yaml", [quoted])
    assert load_params().split.test == ["1e5"]
    (tmp_path / "params.yaml").write_text(
        yaml.safe_dump({**PARAMS, "split": PARAMS["split"] | {"test": []}}).replace(
            "test: []", "test: ['1e5']"
        )
    )
    assert load_params().split.test == ["1e5"]


@pytest.mark.parametrize("height", ["8", '"IMAGE_HEIGHT"'])
def test_an_augmentation_file_of_albumentations_1_is_read(tmp_path: Path, height: str) -> None:
    """Hydrogen Torch: "Argument(s) 'always_apply' are not valid for transform Resize"."""
    text = (
        '{"__version__": "1.1.0", "transform": {"__class_fullname__": "Compose", "p": 1.0, '
        '"transforms": [{"__class_fullname__": "Resize", "always_apply": true, "p": 1, '
        f'"height": {height}, "width": {height}, "interpolation": 1}}, '
        '{"__class_fullname__": "HorizontalFlip", "always_apply": true, "p": 0.5}], '
        '"bbox_params": null, "keypoint_params": null, "additional_targets": {}}}'
    )
    (tmp_path / "custom.json").write_text(text)
    stack = np.random.default_rng(0).random((8, 8, 3), np.float32)
    changes = augmentation(custom=str(tmp_path / "custom.json"), canvas=8)
    for seed in range(4):
        changed, _ = changes(stack, stack[..., :1], seed=seed)
        np.testing.assert_array_equal(changed, stack[:, ::-1])


# Optional datasets


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which covid19 was never downloaded, after one `dvc repro`."""
    top = tmp_path_factory.mktemp("optional")
    project = copy_of_the_working_tree(top / "project")
    project.set({**SMALL, "train.epochs": 1})
    project.dvc("remote", "add", "--default", "store", str(top / "store"))
    project.commit("Start small")
    project.dvc("repro")
    project.commit("Train")
    return project


# The whole pipeline with one epoch
@pytest.mark.slow
def test_commands_of_dvc_work_without_an_optional_dataset(fresh: Project, tmp_path: Path) -> None:
    """dvc#8481, dvc.org#2417: commands failed, because outputs of data/covid19 did not exist."""
    assert fresh.dvc("status").strip() == "Data and pipelines are up to date."
    assert "Experiment has been saved as: saved" in fresh.dvc("exp", "save", "--name", "saved")
    fresh.dvc("exp", "run", "--name", "tried", "--set-param", "predict.threshold=0.4")
    fresh.run("git", "checkout", "--quiet", ".")
    fresh.dvc("checkout")
    applied = fresh.dvc("exp", "apply", "tried")
    assert "Changes for experiment 'tried' have been applied" in applied
    assert yaml.safe_load((fresh.root / "params.yaml").read_text())["predict"]["threshold"] == 0.4
    assert "Git branch 'mine' has been created" in fresh.dvc("exp", "branch", "tried", "mine")
    fresh.run("git", "checkout", "--quiet", ".")
    fresh.run("git", "checkout", "--quiet", "mine")
    fresh.dvc("checkout")
    assert fresh.dvc("status").strip() == "Data and pipelines are up to date."
    fresh.dvc("push")
    fresh.run("git", "clone", "--quiet", ".", str(tmp_path / "clone/project"))
    clone = Project(tmp_path / "clone/project")
    clone.dvc("pull")
    assert clone.dvc("status").strip() == "Data and pipelines are up to date."
    assert json.loads(clone.dvc("diff", "--json")) == {}
    listed = clone.run("thorax", "data", "list")
    assert "Note: to use covid19, run `thorax data download covid19`" in listed
    assert "covid19" not in clone.run("thorax", "data", "diff")
