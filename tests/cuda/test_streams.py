"""The stand-in's streams: what nothing orders is found, whatever ran first, and what is ordered is not."""

import numpy as np
import pytest

from rnncore.cuda import accesses, standin, target
from rnncore.cuda.accesses import StreamRace

cuda = standin.cuda


@pytest.fixture(autouse=True)
def watching():
    with accesses.watched():
        yield


def both():
    return cuda.Stream(non_blocking=True), cuda.Stream(non_blocking=True)


def test_what_another_stream_wrote_is_read_by_those_who_wait():
    one, two = both()
    with one:
        a = standin.zeros(6)
    with two, pytest.raises(StreamRace, match="reads an array of shape .6,. that was written on"):
        a + 1
    two.wait_event(one.record())
    with two:
        b = a[2:] + 1
        a[2:] = 0
    with one, pytest.raises(StreamRace, match="writes an array of shape .3,. that was written on"):
        a[::2] = 1
    with one:
        a[:2] = 1  # nobody else was here
        with pytest.raises(StreamRace):
            b.sum()


def test_what_another_stream_reads_is_written_by_those_who_wait():
    one, two = both()
    a = standin.arange(4.0)
    for stream in (one, two):
        stream.wait_event(cuda.get_current_stream().record())
    with one:
        a.sum()
    with two:
        b = a * 2  # both read
        with pytest.raises(StreamRace, match="writes .* that was read on"):
            a += 1
    two.wait_event(one.record())
    with two:
        a += 1
        b += a


def test_columns_beside_one_another_are_apart():
    one, two = both()
    a = standin.zeros((3, 4))
    for stream, columns in ((one, slice(0, 2)), (two, slice(2, 4))):
        stream.wait_event(cuda.get_current_stream().record())
        with stream:
            a[:, columns][standin.asarray(np.array([0, 2]))] = 1
    with two, pytest.raises(StreamRace):
        a[:, 1:]  # a view is no access
        a[:, 1:].sum()


def test_the_host_knows_what_it_waited_for_and_tells_every_stream():
    one, two = both()
    with one:
        a = standin.ones(2)
        event = one.record()
        assert not event.done
        standin.asnumpy(a)
        assert event.done
    with two:
        a += 1
    event = two.record()
    event.synchronize()
    assert event.done and float((a * 1).sum()) == 4


def test_memory_that_is_freed_is_free_for_the_stream_that_it_was_taken_on():
    one, two = both()
    with one:
        a = standin.ones(2)
    two.wait_event(one.record())
    with two:
        b = a + 1
    del a
    with one, pytest.raises(StreamRace, match="is given memory that was used on"):
        standin.ones(5)
    one.wait_event(two.record())
    with one:
        standin.ones(5)
    del b


def test_memory_without_a_pool_waits_for_the_device():
    one, two = both()
    with one, cuda.using_allocator(None):
        a = standin.ones(2)
    two.wait_event(one.record())
    with two:
        a + 1
    del a
    with one:
        standin.ones(2)


def test_streams_of_others_are_found_by_their_handles():
    one, _ = both()
    for handle, stream in ((0, cuda.Stream.null), (1, cuda.Stream.null), (one.ptr, one)):
        assert cuda.Stream.at(handle) is stream
    assert cuda.Stream.at(123456789).ptr == 123456789


@pytest.mark.skipif(not target.simulated, reason="kernels of a GPU read no stand-ins")
def test_a_kernel_reads_and_writes_where_it_is_launched():
    from rnncore.cuda.scatter import add_rows

    one, two = both()
    with one:
        columns, rows, tokens = standin.zeros((2, 3)), standin.ones((4, 2)), standin.asarray(np.array([0, 2, 2, 1]))
    with two, pytest.raises(StreamRace):
        add_rows(columns, rows, tokens)
    two.wait_event(one.record())
    with two:
        add_rows(columns, rows, tokens)
        assert standin.asnumpy(columns)[0].tolist() == [1, 1, 2]
