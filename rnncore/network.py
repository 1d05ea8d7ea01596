"""The face: a network is an immutable description; calls are pure functions of parameters and inputs."""

from __future__ import annotations

from typing import Any

from .differentiated import Differentiated
from .errors import InputError
from .inputs import as_checkpoint
from .params import Params
from .writing import writes

__all__ = ["Network"]


class Network(Differentiated):
    """A recurrent network: layers arranged by topologies, and an optional affine readout.

    Parameters
    ----------
    layer : Layer or Arrangement
        Such as ``cells.lstm(64)`` or ``topologies.deep(...)``.
    inputs : int, Tokens, or mapping of str to int, optional
        Features of ``x``; or the number of different tokens; or the features of each input by name. None for cells
        without inputs: calls then say the number of ``steps``.
    outputs : int, optional
        Size of the readout ``o = c + V h``; None for no readout.
    mode : {"many-to-many", "many-to-one", "one-to-many", "one-to-one"}
        An output at every step, or one from each direction's final state; of sequences, or of vectors
        (batch, features), which ``"one-to-one"`` takes as a single step and ``"one-to-many"`` as `feed` says.
    initial_state : {"zero", "learned"}
        What a sequence starts from where the caller gives no state.
    feed : {"every", "first", "state"}
        Of one-to-many: the vector is the input at every step, or at the first one (zeros afterwards), or makes the
        initial state of cells without inputs through a learned affine map, ``bridge.W_<state>``, ``bridge.b_<state>``.

    Raises
    ------
    InputError
        An argument is impossible.
    LanguageError
        The equations of a cell do not fit the sizes; the error points at the author's line.

    Examples
    --------
    >>> import numpy as np, rnncore as rn
    >>> net = rn.Network(rn.cells.gru(5), inputs=3)
    >>> params = net.init(seed=0)
    >>> y, state = net(params, np.zeros((2, 7, 3)), lengths=[7, 4])
    >>> y.shape, state["h"].shape
    ((2, 7, 5), (2, 5))
    """

    def init(self, seed: int = 0, dtype: Any = "float32", device: str = "cpu", **roles) -> Params:
        """Initial parameters.

        Parameters
        ----------
        seed : int
            The same seed gives the same numbers.
        dtype : {"float32", "float64"}
            Precision of everything computed with these parameters.
        device : {"cpu", "cuda"}
            Where the numbers are, and everything is computed with them.
        **roles
            Initialiser of a role: ``input``, ``recurrent``, ``diagonal``, ``bias``, ``vector``, ``scalar``,
            ``readout``, ``state``; each a number, the name of a registered initialiser, or one with options, such as
            ``recurrent=rn.initializers.orthogonal(gain=0.9)``. What a cell's equations say with ``init=``
            or ``bias=`` stays, but for what an initialiser names that sets several arrays of a layer together, such as
            ``bias=rn.initializers.chrono(t_max=200)``.

        Raises
        ------
        InputError
            Unknown role, initialiser, dtype or device; or the device is not there: the text says what is missing.
        """
        from .initialize import initialize

        shapes = initialize(self._parameters(), seed, dtype, roles)
        return shapes.to(device)

    # calls
    def __call__(
        self, params: Params, x=None, *, lengths=None, state=None, seed: int | None = None, target=None,
        target_lengths=None, teacher_forcing=None, mask=None, reset=None, steps: int | None = None,
    ):  # fmt: skip
        """Inference: outputs and final state; nothing is kept.

        Parameters
        ----------
        params : Params
        x : array_like (batch, time, features), list of (T_i, features), tokens (batch, time), or mapping of inputs
        lengths : array_like of int, (batch,), optional
            0 to time; outputs past a length are zero, inputs past it are never read.
        state : mapping of str to (batch, size), optional
            Initial states; those not given start as the network says.
        seed : int, optional
            Drives dropout and the coins of teacher forcing; None: no dropout.
        target : array_like, (batch, time) of classes or (batch, time, outputs), or list, optional
            True outputs, for teacher forcing; of a decoder, (batch, steps of its own, ...).
        target_lengths : array_like of int, (batch,), optional
            Of a decoder: 0 to the steps of the target, of what it writes.
        teacher_forcing : {"never", "always"} or float in [0, 1], optional
            Of a network that feeds its output back: how often the true output of a step is handed on in place of the
            network's own. A ratio tosses a coin at each step of each sequence. By default always where a decoder is
            given a target, else never.
        mask : array_like of bool or 0/1, (batch, time), optional
            0: the state is held, the output is zero, and the inputs are never read. Of a decoder's source: the encoder
            leaves the step out, and attention to it is 0.
        reset : array_like of bool or 0/1, (batch, time), optional
            1: before this step the state becomes the initial one, learned or zero (`state` is that before the whole
            sequence); what reads backward in time starts anew there as well. The final state is the last episode's. Of
            a decoder's source likewise for the encoder; the decoder starts from the last episode's end and attends
            to all of them.
        steps : int, optional
            Number of steps, of networks without inputs, one-to-many, and of a decoder without a target.

        Returns
        -------
        y : ndarray, (batch, time, features) or (batch, features)
        state : dict of str to ndarray, (batch, size)

        Raises
        ------
        InputError
            Before anything is computed, saying what was got and what was expected.
        """
        from .execute import called

        given = {"mask": mask, "reset": reset, "steps": steps, "target_lengths": target_lengths}
        batch = self._batch(params, x, lengths, state, target, teacher_forcing, seed, **given)
        return called(self, params, batch, seed=seed)

    def forward(
        self, params: Params, x=None, *, lengths=None, state=None, seed: int | None = None, target=None,
        target_lengths=None, teacher_forcing=None, checkpoint: int | str | None = None, mask=None, reset=None,
        steps: int | None = None,
    ):  # fmt: skip
        """As a call, and keeps on the tape what BPTT needs. `seed` drives dropout; None: no dropout.

        The tape refers to `x` itself where its dtype and layout need no conversion: write nothing into it
        before `backward`.

        Parameters
        ----------
        checkpoint : int or "sqrt", optional
            The tape keeps the states of every so many steps alone, and `backward` runs each stretch between two of
            them again (Gruslys et al. 2016): less memory, one more forward pass. ``"sqrt"``: the root of the number
            of steps, which needs the least. None: keep everything.

        Returns
        -------
        y, state
            As of a call.
        tape : Tape
            For `backward`; ``tape.release()`` gives its memory back.
        """
        from .execute import forward

        given = {"mask": mask, "reset": reset, "steps": steps, "target_lengths": target_lengths}
        others = (seed, target, teacher_forcing, checkpoint, *given.values())
        self.check_params(params)
        programs = self.trainings(params.dtype)
        plain = programs.fit and params.device == "cpu" and all(value is None for value in others)
        ready = plain and state is None and programs.takes(x)
        found = programs.plain(params, x, lengths) if ready else None
        if found is not None:
            return found
        batch = self._batch(params, x, lengths, state, target, teacher_forcing, seed, **given)
        batch.checkpoint = as_checkpoint(checkpoint)
        found = programs.laid(params, batch, True) if plain and not ready else None
        return forward(self, params, batch, seed) if found is None else found

    def attention(self, params: Params, x, **given):
        """Outputs, and the weights with which a decoder attends to each step of its source.

        Parameters
        ----------
        params, x, **given
            As of a call.

        Returns
        -------
        y : ndarray, (batch, steps, outputs)
        alpha : ndarray, (batch, steps, time)
            Rows sum to 1 within the lengths of source and target, and are 0 beyond.

        Raises
        ------
        InputError
            The network does not attend.
        """
        from .writing import attention

        return attention(self, params, x, given)

    def backward(self, params: Params, tape, dy=None, *, dstate=None):
        """Gradients by BPTT.

        Parameters
        ----------
        params : Params
            Those of the forward pass.
        tape : Tape
            Stays valid: backward may run again.
        dy : array_like, shape of y, optional
            Gradient of a loss with respect to y; None for zero. Past a length it is never read.
        dstate : mapping of str to array, optional
            Gradient with respect to the final state.

        Returns
        -------
        dx : ndarray, dict, list or None
            As x came: (batch, time, features), one per input by name, one per sequence; None for tokens and where
            there is no input.
        dstate : dict of str to ndarray
            Gradient with respect to the initial state.
        grads : Params
            Of the same layout as `params`.
        """
        from .execute import backward

        return backward(self, params, tape, dy, dstate)

    def bind(self, params: Params, *, weights: str | None = None):
        """A snapshot with the weights packed once: ``run = net.bind(params); run(x, lengths=...)``.

        Parameters
        ----------
        params : Params
        weights : {"bfloat16"}, optional
            How matrices are stored, that of the readout too; by default as they are. As bfloat16, of float32
            parameters, they are rounded to 8 significant bits, a relative error of at most 2**-8 a weight, and
            take half the memory and the time to read it; everything is computed in float32.

        Raises
        ------
        InputError
            `params` are of another network, or cannot be stored so.

        Examples
        --------
        >>> import numpy as np, rnncore as rn
        >>> net, x = rn.Network(rn.cells.gru(5), inputs=3), np.ones((2, 7, 3), "float32")
        >>> params = net.init(seed=0)
        >>> exact, near = net.bind(params)(x)[0], net.bind(params, weights="bfloat16")(x)[0]
        >>> bool(0 < abs(near - exact).max() < 0.01)
        True
        """
        from .bound import Bound

        return Bound(self, params, weights)

    def stream(
        self, params: Params, batch: int = 1, state=None, *, x=None, lengths=None, mask=None, reset=None,
        weights: str | None = None,
    ):  # fmt: skip
        """One step at a time with the state kept inside: ``stream.step(x_t)``. A snapshot of the parameters.

        A decoder's stream reads its source, `x` with its `lengths`, `mask` and `reset`, at once; each
        ``stream.step()`` then writes one output, ``stream.step(y)`` after reading `y` as the output before it, and
        ``stream.alpha`` says where the step looked. `weights` says how matrices are stored (see `bind`).
        """
        from .decoder_stream import DecoderStream
        from .device_stream import DeviceStream
        from .stream import Stream

        self.check_params(params)
        if writes(self):
            return DecoderStream(self, params, x, lengths, state, weights, mask, reset)
        if any(given is not None for given in (x, lengths, mask, reset)):
            raise InputError(
                "x, lengths, mask and reset are of a decoder's source; this network's stream reads x_t at each step"
            )
        kind = Stream if params.device == "cpu" else DeviceStream
        return kind(self, params, batch, state, weights)

    def stepper(self, params: Params, batch: int = 1, *, weights: str | None = None):
        """The step, to be called inside ``numba.njit`` functions: ``stepper.step(run, x, y)`` (see `Stepper`).

        A snapshot of the parameters. Each run's state is in an array of its own, ``run = stepper.start()``. `weights`
        says how matrices are stored (see `bind`).
        """
        from .stepper import Stepper

        return Stepper(self, params, batch, weights)

    @classmethod
    def from_json(cls, text: str) -> Network:
        """A network from the text of `to_json`.

        Raises
        ------
        InputError
            The text is no description, or names a component that is unknown or has changed.
        """
        from .describe import arguments_of

        return cls(*arguments_of(text))
