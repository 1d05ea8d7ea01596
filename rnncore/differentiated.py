"""The part of a network that losses and derivatives are asked of."""

from __future__ import annotations

from .called import Called
from .params import Params

__all__ = ["Differentiated"]


class Differentiated(Called):
    """A network with its losses and their derivatives, and those of its outputs along a direction (see `Network`)."""

    def loss(
        self, params: Params, x, target, *, loss, lengths=None, state=None, reduction: str = "mean", mask=None,
        reset=None, steps: int | None = None, target_lengths=None,
    ) -> float:  # fmt: skip
        """The loss without its gradient (arguments as for `loss_and_grad`)."""
        from .objective import network_loss

        given = {"mask": mask, "reset": reset, "steps": steps, "target_lengths": target_lengths}
        return network_loss(self, params, x, target, loss, lengths, state, reduction, **given)

    def loss_and_grad(
        self, params: Params, x, target, *, loss, lengths=None, state=None, reduction: str = "mean",
        seed: int | None = None, teacher_forcing=None, checkpoint: int | str | None = None, mask=None, reset=None,
        steps: int | None = None, target_lengths=None,
    ):  # fmt: skip
        """Value of a loss and its gradient with respect to the parameters.

        Parameters
        ----------
        target : array_like or list
            Classes: integers (batch,) or (batch, time). Values: (batch, outputs) or (batch, time, outputs).
            A list gives one entry per sequence.
        loss : str, Loss or a loss with options
            Such as ``"cross_entropy"`` or ``rn.losses.huber(delta=0.5)``.
        reduction : {"mean", "sum"}
            Mean over the unmasked target steps and sequences, or their sum.
        seed : int, optional
            Drives dropout and the coins of teacher forcing; None: no dropout.
        teacher_forcing : {"never", "always"} or float in [0, 1], optional
            How often `target` is handed on in place of an output that is fed back (see `__call__`).
        checkpoint : int or "sqrt", optional
            Less memory for one more forward pass (see `forward`).
        mask, reset, steps : optional
            As of a call; a step that is masked counts in no loss.

        Returns
        -------
        value : float
        grads : Params
        """
        from .objective import loss_grads_and_state

        return loss_grads_and_state(
            self, params, x, target, loss, lengths, state, reduction, seed, teacher_forcing, checkpoint,
            mask=mask, reset=reset, steps=steps, target_lengths=target_lengths,
        )[:2]  # fmt: skip

    def jvp(
        self, params: Params, x=None, *, dparams=None, dx=None, dstate=None, lengths=None, state=None,
        seed: int | None = None, target=None, target_lengths=None, teacher_forcing=None, mask=None, reset=None,
        steps: int | None = None,
    ):  # fmt: skip
        """Outputs and their derivative along a direction, in one forward pass (forward mode).

        Parameters
        ----------
        dparams : Params or ndarray, layout of params or shape of ``params.flat``, optional
            Direction of the parameters; None: they do not move.
        dx : as `x`, optional
            Direction of the inputs; of several, a mapping may give some. None for tokens.
        dstate : mapping of str to (batch, size), optional
            Direction of the initial states; a learned one moves with `dparams` as well.
        lengths, state, seed, target, target_lengths, teacher_forcing, mask, reset, steps
            As of a call. True outputs that are handed on do not move.

        Returns
        -------
        y : ndarray, (batch, time, features) or (batch, features)
        y_dot : ndarray, shape of y
        state : dict of str to ndarray, (batch, size)
        state_dot : dict of str to ndarray, (batch, size)

        Raises
        ------
        InputError
            A direction has another layout or shape than what it belongs to; or it is that of a state which an encoder
            hands over, or ``feed="state"`` makes, and which is not given.

        Examples
        --------
        >>> import numpy as np, rnncore as rn
        >>> net = rn.Network(rn.cells.gru(5), inputs=3)
        >>> params, x = net.init(dtype="float64"), np.ones((2, 7, 3))
        >>> y, y_dot, state, state_dot = net.jvp(params, x, dx=np.ones_like(x))
        >>> h = 1e-6
        >>> bool(abs((net(params, x + h)[0] - y) / h - y_dot).max() < 1e-5)
        True
        """
        from .tangent import network_jvp

        given = {"mask": mask, "reset": reset, "steps": steps, "target_lengths": target_lengths}
        return network_jvp(
            self, params, x, dparams, dx, dstate, lengths, state, seed, target, teacher_forcing, **given
        )  # fmt: skip

    def hvp(
        self, params: Params, x, target, direction, *, loss, lengths=None, state=None, reduction: str = "mean",
        seed: int | None = None, teacher_forcing=None, checkpoint: int | str | None = None, mask=None, reset=None,
        steps: int | None = None, target_lengths=None,
    ):  # fmt: skip
        """Value of a loss, its gradient, and the product of its Hessian with a direction.

        All for the cost of a few gradients: it is the reverse pass of the directional derivative (Pearlmutter,
        Neural Computation 6, 1994).

        Parameters
        ----------
        direction : Params or ndarray, layout of params or shape of ``params.flat``
        target, loss, lengths, state, reduction, seed, teacher_forcing, checkpoint, mask, reset, steps, target_lengths
            As for `loss_and_grad`.

        Returns
        -------
        value : float
        grads : Params
        product : Params
            The Hessian with respect to the parameters, times `direction`.

        Raises
        ------
        InputError
            As `loss_and_grad`; or `direction` has another layout than `params`.

        Examples
        --------
        >>> import numpy as np, rnncore as rn
        >>> net = rn.Network(rn.cells.gru(5), inputs=3)
        >>> params, x = net.init(dtype="float64"), np.ones((2, 7, 3))
        >>> v = params.with_flat(np.ones_like(params.flat))
        >>> value, grads, product = net.hvp(params, x, np.zeros((2, 7, 5)), v, loss="mean_squared")
        >>> product.flat.shape == params.flat.shape
        True
        """
        from .tangent import network_hvp

        given = {"mask": mask, "reset": reset, "steps": steps, "target_lengths": target_lengths}
        return network_hvp(
            self, params, x, target, direction, loss, lengths, state, reduction, seed, teacher_forcing, checkpoint,
            **given,
        )  # fmt: skip
