"""What becomes of equations: the author's text, the graph, the plan, the generated source."""

from __future__ import annotations

from .errors import InputError
from .lang.cell import Cell, Layer

__all__ = ["explain", "Explanation"]


class Explanation(str):
    """Text that prints itself in a notebook."""

    def __repr__(self) -> str:
        return str(self)


def explain(layer, dtype: str = "float32", what: str = "all") -> Explanation:
    """Show how a layer's equations become loops.

    Parameters
    ----------
    layer : Layer, Cell, Arrangement or Network
        A cell is taken with its default options; of a network or an arrangement every different layer is shown.
    dtype : {"float32", "float64"}
        Of the generated source.
    what : {"all", "equations", "graph", "plan", "source"}

    Returns
    -------
    Explanation
        A string.

    Examples
    --------
    >>> import rnncore as rn
    >>> print(rn.explain(rn.cells.vanilla(8), what="plan"))  # doctest: +ELLIPSIS
    vanilla(8)...
    """
    parts = ("equations", "graph", "plan", "source")
    if what not in ("all", *parts):
        raise InputError(f"what must be one of all, {', '.join(parts)}, got {what!r}")
    chosen = parts if what == "all" else (what,)
    blocks = []
    for each in _layers(layer):
        blocks.append(f"{each!r}\n{'=' * len(repr(each))}")
        for part in chosen:
            blocks.append(f"-- {part} --\n{_PARTS[part](each, dtype)}")
    return Explanation("\n\n".join(blocks))


def _layers(value) -> list[Layer]:
    if isinstance(value, Cell):
        return [value(1)]
    if isinstance(value, Layer):
        return [value]
    block = getattr(value, "block", None)
    if block is None:
        raise InputError(f"explain takes a layer, a cell, a topology or a network, got {type(value).__name__}")
    found: list[Layer] = []
    stack = [block]
    while stack:
        b = stack.pop()
        if hasattr(b, "layer") and b.layer not in found:
            found.append(b.layer)
        stack += [*reversed(getattr(b, "blocks", ()))] + ([b.block] if hasattr(b, "block") else [])
    return found


def _equations(layer: Layer, dtype: str) -> str:
    step = layer.step
    rows = [f"  {p.name:<10} ({', '.join(map(str, p.shape))})  {p.role}" for p in step.params]
    return "\n".join([layer.source.rstrip(), "", "parameters:", *rows])


def _graph(layer: Layer, dtype: str) -> str:
    from .lang.printing import format_graph
    from .plan.adjoint import adjoint_of

    return f"{layer.step}\n\nits reverse:\n{format_graph(adjoint_of(layer.step).roots)}"


def _plan(layer: Layer, dtype: str) -> str:
    from .plan.describe import describe_plan
    from .plan.kernels import plan_of

    kinds = ("infer", "forward", "backward")
    return "\n\n".join(f"{which}:\n{describe_plan(plan_of(layer.step, which))}" for which in kinds)


def _source(layer: Layer, dtype: str) -> str:
    from .cpu.emit import emit
    from .cpu.machine import host
    from .plan.kernels import plan_of

    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    texts = []
    for which in ("forward", "backward"):
        text = emit(plan_of(layer.step, which), dtype, host().lanes(dtype), pretty=True).text
        texts.append(f"# {which}\n{text}")
    return "\n".join(texts)


_PARTS = {"equations": _equations, "graph": _graph, "plan": _plan, "source": _source}
