"""How many threads a call may use: what the user, the system and threadpoolctl allow."""

import os
import sys
import threading

import pytest
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from rnncore.cpu import limits
from rnncore.cpu.limits import quota, threads_allowed


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """Eight processors, no quota and no environment."""
    for name in ("RNNCORE_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(limits, "processors_allowed", lambda: frozenset(range(8)))
    monkeypatch.setattr(limits, "quota", lambda: None)
    limits._others.cache_clear()
    yield
    limits._others.cache_clear()


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS"])
@pytest.mark.parametrize("text, number", [("1", 1), ("3", 3), ("4,2", 4), (" 5 ", 5), ("64", 8), ("", 8), ("no", 8),
                                          ("0", 8), ("-2", 8)])  # fmt: skip
def test_what_loky_and_batch_systems_say(name, text, number, monkeypatch):
    monkeypatch.setenv(name, text)
    assert threads_allowed() == number


def test_the_least_counts_and_our_own_variable_before_all(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "6")
    assert threads_allowed() == 5
    monkeypatch.setattr(limits, "quota", lambda: 3)
    assert threads_allowed() == 3
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "7")
    assert threads_allowed() == 7


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_processors_that_a_thread_may_not_use_do_not_count(monkeypatch):
    monkeypatch.undo()

    def bound():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return threads_allowed()

    assert in_a_thread(bound) == 1


FIRST = {"granted": "cpu.cfs_quota_us", "period": "cpu.cfs_period_us"}


@pytest.mark.parametrize("limit, number", [("150000 100000", 2), ("200000 100000", 2), ("5000 100000", 1),
                                           ("max 100000", None), ("", None)])  # fmt: skip
@pytest.mark.parametrize("where", ["", "a", "a/b"])
def test_a_quota_of_the_second_control_groups(limit, number, where, tmp_path):
    (tmp_path / "groups").write_text("0::/a/b\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / where / "cpu.max").write_text(f"{limit}\n")
    assert quota(str(tmp_path / "groups"), str(tmp_path)) == number


@pytest.mark.parametrize("granted, number", [("250000", 3), ("-1", None)])
@pytest.mark.parametrize("mounted", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("where", ["", "a/b"])
def test_a_quota_of_the_first_control_groups(granted, number, mounted, where, tmp_path):
    (tmp_path / "groups").write_text("9:memory:/x\n2:cpu,cpuacct:/a/b\n1:name=systemd:/\n0::/\n")
    folder = tmp_path / mounted / where
    folder.mkdir(parents=True)
    (folder / FIRST["granted"]).write_text(f"{granted}\n")
    (folder / FIRST["period"]).write_text("100000\n")
    assert quota(str(tmp_path / "groups"), str(tmp_path)) == number


def test_the_strictest_of_nested_quotas_counts(tmp_path):
    (tmp_path / "groups").write_text("0::/a/b\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    for folder, granted in ((tmp_path / "a", 3), (tmp_path / "a" / "b", 9)):
        (folder / "cpu.max").write_text(f"{granted}00000 100000\n")
    assert quota(str(tmp_path / "groups"), str(tmp_path)) == 3


def test_no_control_groups(tmp_path):
    assert quota(str(tmp_path / "none"), str(tmp_path)) is None


def ours():
    (info,) = [i for i in threadpool_info() if i["user_api"] == "rnncore"]
    return info


def test_threadpoolctl_sees_rnncore():
    import rnncore as rn

    assert ours()["num_threads"] == 8 and ours()["version"] == rn.__version__


@pytest.mark.parametrize("asked", [None, "7"])
@pytest.mark.parametrize("how", [{"limits": 1}, {"limits": 1, "user_api": "rnncore"}, {"limits": {"rnncore": 1}}])
def test_threadpoolctl_limits_rnncore_whatever_else_says(how, asked, monkeypatch):
    if asked:
        monkeypatch.setenv("RNNCORE_NUM_THREADS", asked)
    with threadpool_limits(**how):
        assert threads_allowed() == 1 == ours()["num_threads"]
        with ThreadpoolController().limit(limits=2):
            assert threads_allowed() == 2
        assert threads_allowed() == 1
    assert threads_allowed() == int(asked or 8)


def test_other_limits_are_not_ours_and_none_is_left_behind(monkeypatch):
    with threadpool_limits(1, user_api="blas"), threadpool_limits(1, user_api="openmp"):
        assert threads_allowed() == 8
    with threadpool_limits(3):
        pass
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "20")
    assert threads_allowed() == 20


def test_a_limit_holds_in_the_thread_that_sets_it():
    with threadpool_limits(1):
        assert in_a_thread(threads_allowed) == 8


def test_a_wrong_number_is_told_by_the_call_and_not_by_threadpoolctl(monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "many")
    assert ours()["num_threads"] == 8
    with threadpool_limits(1):
        pass


def test_threadpoolctl_need_not_be_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    limits.announce()
