"""Components: the same function is the same component; a hash of what its code does."""

import pickle
import subprocess
import sys

import pytest
import stress

from rnncore.errors import InputError
from rnncore.lang import Component, initializer, loss, optimizer, schedule
from rnncore.lang.component import plain


def test_a_component_knows_where_it_is_from():
    assert stress.simple.module == "stress" and stress.simple.qualname == "simple"
    assert stress.simple.filename == stress.__file__
    assert stress.simple.__doc__ == stress.simple.fn.__doc__ and "Elman" in stress.simple.summary
    assert repr(stress.simple).startswith("<cell simple, activation='tanh': The plain recurrent network.")


def test_a_component_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(stress.simple)) is stress.simple


def test_a_component_of_a_module_that_has_it_no_more(monkeypatch):
    data = pickle.dumps(stress.simple)
    monkeypatch.delattr(stress, "simple")
    with pytest.raises(InputError, match="this process has no 'simple' in its module 'stress'"):
        pickle.loads(data)


PROGRAM = """
import pickle, subprocess, sys
import cloudpickle, numpy as np
import rnncore as rn
from rnncore.lang import cell, loss, mean, tanh

ONE = 1.0

@cell
def mine(w, x, h):
    return tanh(w.i(x, h) + ONE)

@loss(target="class")
def own(o, target):
    return mean(o * target)

if __name__ == "__main__":
    net = rn.Network(mine(3), inputs=2)
    run, x = net.bind(net.init(seed=0)), np.ones((1, 2, 2), "float32")
    assert (mine.qualname, mine.name) == ("mine", "mine") and cell(mine.fn).qualname == "mine"
    for dumps in (pickle.dumps, cloudpickle.dumps):
        assert pickle.loads(dumps(net)) == net and pickle.loads(dumps(mine)) is mine
        assert pickle.loads(dumps(own)) is own and own.target == "class"
    data = cloudpickle.dumps((run, x, own))
    other = "import pickle, sys; r, x, o = pickle.load(sys.stdin.buffer); print(r(x)[0].tolist(), o.target, o.name)"
    done = subprocess.run([sys.executable, "-c", other], input=data, capture_output=True)
    assert not done.returncode, done.stderr.decode()
    assert done.stdout.decode() == f"{run(x)[0].tolist()} class own\\n"
"""


def test_a_component_of_a_program_goes_with_it_to_other_processes(tmp_path):
    """As joblib's do, which cannot import a program or a notebook."""
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("make, kind", [(loss, "loss"), (optimizer, "optimizer"), (schedule, "schedule"),
                                        (initializer, "initializer")])  # fmt: skip
def test_options_are_chosen_by_a_call(make, kind):
    def fn(a, b, *, k=1.0, name="x"):
        return a

    made = make(fn)
    assert isinstance(made, Component) and made.kind == kind and made.options == {"k": 1.0, "name": "x"}
    bound = made(k=2)
    assert bound.options == {"k": 2, "name": "x"} and bound == made(k=2) != made() and hash(bound) == hash(made(k=2))
    assert bound.describe() == {"name": "fn", "options": {"k": 2, "name": "x"}} and repr(bound) == "fn(k=2, name='x')"
    with pytest.raises(InputError, match=f"{kind} 'fn' has no option 'q'; its options are: k, name"):
        made(q=1)


def test_the_fingerprint_follows_the_code_and_not_its_place():
    def versions():
        def fn(o, target):
            """First."""
            return o - target

        first = loss(fn)

        def fn(o, target):
            """Second, the same equation below another text."""
            return o - target

        second = loss(fn)

        def fn(o, target):
            return target - o

        return first, second, loss(fn)

    first, second, third = versions()
    assert first.fingerprint == second.fingerprint != third.fingerprint


def test_the_fingerprint_sees_numbers():
    one, two = loss(lambda o, target: 1.0 * o), loss(lambda o, target: 2.0 * o)
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize("target", ["numbers", None, 3])
def test_a_loss_is_of_classes_or_values(target):
    with pytest.raises(InputError, match="target must be 'values' or 'class'"):
        loss(target=target)(lambda o, target: o)


def test_plain_values():
    assert all(plain(v) for v in (None, True, 1, 1.5, "a", (), (1, ("a", None))))
    assert not any(plain(v) for v in ([], {}, object(), (1, []), b"a"))
