"""A network's step to be called from the user's own compiled code."""

from __future__ import annotations

import ctypes

import numpy as np

from .arguments import whole
from .bound import Bound
from .cpu.memory import address_of
from .errors import InputError
from .stepper_type import FIELDS, registered
from .steps import Steps, check_steps
from .writing import refuse_decoder

__all__ = ["Stepper"]


@registered
class Stepper:
    """One step of a network, callable inside ``numba.njit`` functions: no Python object is touched there.

    It holds the weights, a snapshot, and no state: a run's state is in an array that `start` makes and the caller owns.
    So one stepper serves any number of runs, and of threads at once where each has a run of its own. Inside compiled
    code a stepper is an argument like any other, which lets ``cache=True`` work; as a global variable it is frozen,
    and numba then does not cache.

    Parameters
    ----------
    net : Network
        Without a block that reads backward in time, and without a decoder.
    params : Params
    batch : int
        Sequences that go in step.
    weights : {"bfloat16"}, optional
        How matrices are stored (see `Network.bind`).

    Attributes
    ----------
    batch : int
    inputs : dict of str to slice
        The columns of each input in x.
    outputs : int
        Columns of y.
    dtype : numpy.dtype
        Of runs and y, and of x unless it is tokens (int64).
    size, state_size : int
        Numbers of a run, and how many of them, the first ones, are the states.

    Raises
    ------
    InputError
        The network cannot go one step at a time, or `params` are not its own.

    Examples
    --------
    >>> import numba, numpy as np, rnncore as rn
    >>> net = rn.Network(rn.cells.gru(5), inputs=3, outputs=2)
    >>> params, x = net.init(seed=0), np.ones((7, 3), "float32")
    >>> @numba.njit
    ... def simulate(stepper, run, x, y):
    ...     for t in range(len(x)):
    ...         stepper.step(run, x[t], y[t])
    >>> stepper, y = net.stepper(params), np.empty((7, 2), "float32")
    >>> run = stepper.start()
    >>> simulate(stepper, run, x, y)
    >>> bool(np.allclose(y, net(params, x[None])[0][0], atol=1e-6)), stepper.state(run)["h"].shape
    (True, (1, 5))
    """

    def __init__(self, net, params, batch: int = 1, weights: str | None = None):
        check_steps(net, "be stepped through")
        refuse_decoder(net, "a stepper is of")
        net.check_params(params)
        if params.device != "cpu":
            raise InputError(f"a stepper's parameters are on the CPU, these are on {params.device!r}: params.to('cpu')")
        number = whole(batch, 1)
        if number is None:
            raise InputError(f"batch must be a positive integer, got {batch!r}")
        steps = Steps(Bound(net, params, weights), number, parallel=False)
        self.net, self.batch, self.dtype, self.outputs = net, number, steps.dtype, steps.features
        self.size, self.state_size, self.x_dtype = steps.size, steps.state_size, steps.x_dtype
        self.inputs, at = {}, 0
        for name, size in net.fed.items():
            width = 1 if steps.tokens else size
            self.inputs[name] = slice(at, at + width)
            at += width
        self._steps, self._x_size, self._y_size = steps, number * steps.columns, number * steps.features
        given = {
            "advance": steps.runner.advance, "program": steps.program.address, "size": self.size,
            "state_size": self.state_size, "x_size": self._x_size, "y_size": self._y_size,
        }  # fmt: skip
        self._fields = np.array([given[name] for name in FIELDS], np.int64)
        self._at = address_of(self._fields)
        self._advance = ctypes.CFUNCTYPE(*[ctypes.c_int64] * 7)(steps.runner.advance)

    def start(self, state=None) -> np.ndarray:
        """A run: the array that `step` keeps the states in, followed by room that it computes in.

        A copy of it, or of its first `state_size` numbers, is a copy of the state.

        Parameters
        ----------
        state : mapping of str to (batch, size), optional
            Initial states; those not given start as the network says.

        Returns
        -------
        run : ndarray, (size,)

        Raises
        ------
        InputError
            An unknown state, or a wrong shape.
        """
        run = np.zeros(self.size, self.dtype)
        self._steps.begin(run, self._steps.checked(state))
        return run

    def state(self, run: np.ndarray) -> dict[str, np.ndarray]:
        """The states of a run by name, (batch, size), as views: what is written into them, the next step reads."""
        self._check("run", run, self.dtype, self.size)
        return self._steps.states(run)

    def step(self, run: np.ndarray, x: np.ndarray | None, y: np.ndarray) -> np.ndarray:
        """One step; in compiled code the same, by the same name.

        Parameters
        ----------
        run : ndarray, (size,)
            From `start`; changed in place.
        x : ndarray, (batch, columns) or (columns,), C-contiguous, or None where there are no inputs
            Inputs of several names lie side by side (see `inputs`); tokens are int64.
        y : ndarray, (batch, outputs) or (outputs,), C-contiguous
            Where the output goes; it must not overlap `x`.

        Returns
        -------
        y : ndarray
            The same array.

        Raises
        ------
        InputError
            Another dtype, size or layout; a token out of range. Compiled code raises ``ValueError`` for a size or a
            token, and numba says the rest when it compiles.
        """
        self._check("run", run, self.dtype, self.size)
        self._check("y", y, self.dtype, self._y_size)
        if x is not None or self._x_size:
            self._check("x", x, self.x_dtype, self._x_size)
        places = [0 if a is None else address_of(a) for a in (run, x, y)]
        if self._advance(self._steps.program.address, *places, 0, 0):
            raise InputError(f"tokens must lie in 0..{self.net.inputs.size - 1}, got {x}")
        return y

    def _check(self, what: str, array, dtype: np.dtype, size: int) -> None:
        if type(array) is np.ndarray and array.dtype == dtype and array.size == size and array.flags.c_contiguous:
            return
        got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"{what} must be a C-contiguous {dtype} array of {size} numbers, got {got}")

    def __reduce__(self):
        return Stepper, (self.net, self._steps.run.params, self.batch, self._steps.run.weights)

    def __repr__(self) -> str:
        return f"<stepper of {self.net!r}, batch {self.batch}, {self.dtype}>"
