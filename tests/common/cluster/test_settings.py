"""The address of a scheduler, or a YAML file."""

from pathlib import Path

import pytest

from thorax.common.cluster.opening import open_cluster
from thorax.common.cluster.settings import ClusterSettings, read_cluster
from thorax.common.errors import InputError


@pytest.mark.parametrize(
    "address", ["tcp://node-1.site:8786", "tls://10.0.0.1:80", "tcp://[::1]:1"]
)
def test_an_address_is_returned(address: str) -> None:
    assert read_cluster(address) == address


@pytest.mark.parametrize("text", ["node1:8786", "tcp://node1", "http://node1:8786", "cluster.json"])
def test_other_texts_are_rejected(text: str) -> None:
    with pytest.raises(InputError, match="must be the address of a scheduler"):
        read_cluster(text)


def test_a_file_names_the_class_and_its_options(tmp_path: Path) -> None:
    path = tmp_path / "slurm.yaml"
    path.write_text(
        "cluster: SLURMCluster\nworkers: 16\n"
        "options: {cores: 2, memory: 4GB, walltime: '02:00:00', job_extra_directives: [-A lungs]}\n"
    )
    settings = read_cluster(str(path))
    assert isinstance(settings, ClusterSettings)
    assert (settings.cluster, settings.limits) == ("SLURMCluster", (16, 16))
    assert settings.options["job_extra_directives"] == ["-A lungs"]


def test_an_adaptive_cluster_has_limits(tmp_path: Path) -> None:
    path = tmp_path / "pbs.yml"
    path.write_text("cluster: PBSCluster\nmaximum: 50\n")
    settings = read_cluster(str(path))
    assert isinstance(settings, ClusterSettings)
    assert settings.limits == (0, 50)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("workers: 2", "key `cluster` is missing"),
        ("cluster: KubeCluster\nworkers: 2", "`cluster`: Input should be 'LocalCluster', 'SLURM"),
        ("cluster: LocalCluster\nworkers: 2\nqueue: gpu", "unknown key `queue`"),
        ("cluster: LocalCluster\nworkers: 0", "`workers`: .* greater than or equal to 1, got 0"),
        ("cluster: LocalCluster\nworkers: '2'", "`workers`: .* valid integer, got '2'"),
        ("cluster: LocalCluster", "by `minimum` and `maximum`, got neither"),
        ("cluster: LocalCluster\nworkers: 2\nmaximum: 3", "got workers and maximum"),
        ("cluster: LocalCluster\nminimum: 2", "got minimum"),
        ("cluster: LocalCluster\nminimum: 4\nmaximum: 3", "at most `maximum`, got 4 and 3"),
        ("cluster: SSHCluster\nworkers: 2", "`workers` must be omitted for SSHCluster"),
        (
            "cluster: SLURMCluster\nworkers: 2\noptions: {walltime: 12:00:00}",
            "must have walltime as a text in quotes such as '02:00:00'",
        ),
        (
            "cluster: SLURMCluster\nworkers: 2\noptions: {memory: 4}",
            "must have memory as a text in quotes such as 4GB",
        ),
        ("cluster: LocalCluster\nworkers: 2\noptions: {n_workers: 3}", "use `workers` instead"),
        ("- a", "should be an object, got"),
        ("cluster: [", "is not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        read_cluster(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.yaml cannot be read: No such file"):
        read_cluster(str(tmp_path / "none.yaml"))


# The destructor of the unfinished object warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_options_that_the_class_rejects_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "slurm.yaml"
    path.write_text("cluster: SLURMCluster\nworkers: 1\noptions: {memory: 4GB}\n")
    with (
        pytest.raises(InputError, match="SLURMCluster cannot be started with these options: You"),
        open_cluster(str(path), note=print),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.common.cluster.opening.CONNECT_S", 0.5)
    with (
        pytest.raises(
            InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9; start"
        ),
        open_cluster("tcp://127.0.0.1:9", note=print),
    ):
        pass
