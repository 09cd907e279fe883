"""One item at a time per worker; an item is a Python expression, and the work evaluates it."""

from collections.abc import Iterator
from typing import Any

import pytest

from thorax.common.cluster.dispatch import OnePerWorker
from thorax.common.cluster.opening import open_cluster
from thorax.common.cluster.outcome import Ended
from thorax.common.errors import InputError

from ...dask_clusters import Opened, local_cluster, running_scheduler

NAME = "__import__('distributed').get_worker().name"
KILL = "__import__('os').kill(__import__('os').getpid(), 9)"


@pytest.fixture
def two() -> Iterator[Opened]:
    with local_cluster(2) as opened:
        yield opened


def queue_of(opened: Opened, *items: str, **options: Any) -> OnePerWorker[str, Any]:
    queue: OnePerWorker[str, Any] = OnePerWorker(opened.cluster, eval, **options)
    for item in items:
        queue.add(item)
    return queue


def all_of(queue: OnePerWorker[str, Any], *, rounds: int = 600) -> list[Ended[str, Any]]:
    ended: list[Ended[str, Any]] = []
    for _ in range(rounds):
        if not len(queue):
            break
        ended += queue.wait(0.1)
    assert not len(queue)
    return ended


def sleep(seconds: float, number: int = 0) -> str:
    return f"__import__('time').sleep({seconds}) or {number}"


def test_each_item_has_its_result(two: Opened) -> None:
    queue = queue_of(two, *map(str, range(20)))
    assert {ended.item: ended.result for ended in all_of(queue)} == {str(n): n for n in range(20)}
    assert two.notes == []


def test_no_worker_has_two_items_at_a_time(two: Opened) -> None:
    most = []
    queue = queue_of(
        two,
        *(sleep(0.01, number) for number in range(12)),
        started=lambda item, worker: most.append((worker in set(queue.running.values()), worker)),
    )
    all_of(queue)
    assert [again for again, _ in most] == [False] * 12
    assert len({worker for _, worker in most}) == 2


def test_the_number_of_items_at_a_time_can_be_limited(two: Opened) -> None:
    running = []
    queue = queue_of(
        two,
        *(sleep(0.01, number) for number in range(6)),
        limit=1,
        started=lambda item, worker: running.append(len(queue.running)),
    )
    all_of(queue)
    assert running == [0] * 6


def test_a_worker_that_joins_late_is_used() -> None:
    with local_cluster(0) as opened:
        queue = queue_of(opened, "1", "2", patience_s=0)
        assert queue.wait(0.1) == []
        assert len(opened.notes) == 1
        assert opened.notes[0].startswith("there is no worker in the cluster test since 0 s")
        opened.dask.scale(1)
        assert sorted(ended.result for ended in all_of(queue)) == [1, 2]


def test_an_item_whose_worker_leaves_is_started_again_without_blame(two: Opened) -> None:
    queue = queue_of(two, sleep(1, 7), attempts=1)
    assert queue.wait(0.1) == []
    two.cluster.client.retire_workers(list(queue.running.values()))
    (ended,) = all_of(queue)
    assert (ended.result, ended.error) == (7, "")
    (note,) = two.notes
    assert "left the cluster; __import__('time').sleep(1) or 7 is started again" in note


def test_a_worker_that_cannot_begin_gets_no_more_items(two: Opened) -> None:
    items = [f"{number} if {NAME} else 1 / 0" for number in range(8)]
    results = [ended.result for ended in all_of(queue_of(two, *items))]
    assert sorted(results) == list(range(8))
    (note,) = two.notes
    assert note.endswith("is not used any more: ZeroDivisionError: division by zero")


def test_without_a_worker_that_can_begin_the_reason_is_the_error(two: Opened) -> None:
    queue = queue_of(two, "1 / 0", *["2 / 0"] * 3)
    with pytest.raises(InputError, match="no worker of the cluster test can do this: ZeroDivision"):
        all_of(queue)


def test_a_scheduler_that_disappears_is_one_error() -> None:
    with (
        running_scheduler() as (process, address),
        open_cluster(address, note=print) as cluster,
    ):
        queue: OnePerWorker[str, Any] = OnePerWorker(cluster, eval)
        queue.add("1")
        assert queue.wait(0.1) == []
        process.kill()
        with pytest.raises(InputError, match=f"the scheduler of the cluster {address} has go"):
            all_of(queue)
        queue.close()


def test_items_that_were_not_sent_can_be_dropped(two: Opened) -> None:
    queue = queue_of(two, *(sleep(0.5, number) for number in range(5)))
    assert queue.wait(0.1) == []
    queue.forget()
    assert sorted(ended.result for ended in all_of(queue)) == [0, 1]


def test_a_scan_that_kills_its_workers_fails_alone() -> None:
    with local_cluster(2, processes=True) as opened:
        ended = all_of(queue_of(opened, "0", KILL, "1", "2"))
    assert sorted(end.result for end in ended if not end.error) == [0, 1, 2]
    (killed,) = (end for end in ended if end.error)
    assert killed.item == KILL
    assert killed.error.startswith("its worker was killed twice (tcp://127.0.0.1:")
    assert len(set(killed.error.partition(")")[0].partition("(")[2].split(", "))) == 2
    assert [note.partition("; ")[0].split()[2:] for note in opened.notes] == [
        ["ended", "unexpectedly"]
    ]
