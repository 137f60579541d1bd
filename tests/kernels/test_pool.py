"""The pool of threads: results in order, errors raised, nested calls in the same thread, work dealt out by number."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from minimapnet.kernels import numpy_kernels, pool


@pytest.fixture(params=[1, 2, 3], ids="{}-threads".format)
def threads(request, monkeypatch):
    """Return the pool so many threads, whatever the machine has."""
    executor = ThreadPoolExecutor(max(1, request.param - 1))
    monkeypatch.setattr(pool, "threads", lambda: request.param)
    monkeypatch.setattr(pool, "_executor", lambda: executor)
    yield request.param
    executor.shutdown()


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_results_stand_in_the_order_of_the_tasks(threads, count):
    assert pool.run([lambda i=i: i * i for i in range(count)]) == [i * i for i in range(count)]


def test_tasks_are_dealt_to_threads_in_turn(threads):
    idents = pool.run([threading.get_ident] * 7)
    assert idents[0] == threading.get_ident()
    assert all(idents[i] == idents[0] for i in range(0, 7, threads))


def test_tasks_run_side_by_side(threads):
    """Each waits for all the others: a pool that ran them in turn would break the barrier."""
    meeting = threading.Barrier(threads, timeout=20)
    assert sorted(pool.run([meeting.wait] * threads)) == list(range(threads))


@pytest.mark.parametrize("bad", range(4))
def test_an_error_of_any_task_is_raised_and_the_pool_still_works(threads, bad):
    def task(number):
        if number == bad:
            raise LookupError(f"task {number}")
        return number

    with pytest.raises(LookupError, match=f"task {bad}"):
        pool.run([lambda i=i: task(i) for i in range(4)])
    assert pool.run([lambda i=i: i for i in range(5)]) == list(range(5))


def test_a_run_inside_a_task_stays_in_its_thread(threads):
    def outer():
        return threading.get_ident(), pool.run([threading.get_ident] * 4)

    for ident, inner in pool.run([outer] * 3):
        assert inner == [ident] * 4


def test_a_task_knows_that_it_has_one_thread(threads):
    """What is cut for all threads would be worked off by one, in parts that are too small."""
    tokens = numpy_kernels.CHUNK_TOKENS // 4

    def asked():
        return len(numpy_kernels.split_batch(4, tokens)), numpy_kernels.workers(4)

    assert asked() == (min(threads, 4), min(threads, 4))
    alone = (1, 1) if threads > 1 else asked()
    assert pool.run([asked] * 3) == [alone] * 3
    assert asked() == (min(threads, 4), min(threads, 4))


@pytest.mark.parametrize("size,parts", [(10, 3), (3, 10), (1, 1), (7, 7), (1000, 6)])
def test_split_leaves_nothing_out_and_no_part_empty(size, parts):
    slices = pool.split(size, parts)
    lengths = [part.stop - part.start for part in slices]
    assert len(slices) == min(size, parts)
    assert [i for part in slices for i in range(size)[part]] == list(range(size))
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1


def test_the_machine_has_a_thread():
    assert pool.threads() >= 1
