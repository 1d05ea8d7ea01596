"""Threads: every part runs at once, errors come back, and who finds the threads taken runs alone."""

import threading

import pytest

from rnncore.cpu.pool import run_parts


def test_every_part_runs_at_the_same_time():
    barrier, seen = threading.Barrier(3), []

    def work(part, parts):
        barrier.wait(20)
        seen.append((part, parts))

    run_parts(work, 3)
    assert sorted(seen) == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_an_error_in_a_part_is_raised_after_all_have_ended(wrong):
    done = []

    def work(part, parts):
        if part == wrong:
            raise ValueError(f"part {part}")
        done.append(part)

    with pytest.raises(ValueError, match=f"part {wrong}"):
        run_parts(work, 3)
    assert sorted(done) == [k for k in range(3) if k != wrong]
    run_parts(work if wrong > 1 else lambda part, parts: None, 1)


def test_a_call_within_a_call_runs_alone():
    inner = []

    def work(part, parts):
        if part == 0:
            run_parts(lambda p, n: inner.append((p, n)), 4)

    run_parts(work, 2)
    assert inner == [(0, 1)]


def test_a_second_caller_runs_alone_while_the_first_has_the_threads():
    holding, release, second = threading.Event(), threading.Event(), []

    def first(part, parts):
        holding.set()
        release.wait(20)

    caller = threading.Thread(target=run_parts, args=(first, 2))
    caller.start()
    holding.wait(20)
    run_parts(lambda part, parts: second.append((part, parts)), 2)
    release.set()
    caller.join(20)
    assert second == [(0, 1)] and not caller.is_alive()


def test_one_part_needs_no_thread():
    me = []
    run_parts(lambda part, parts: me.append(threading.get_ident()), 1)
    assert me == [threading.get_ident()]
