"""``rnncore explain``."""

from ..registry import current
from .options import ExplainOptions

__all__ = ["explain"]


def explain(options: ExplainOptions) -> None:
    """Show what becomes of a cell: its equations, graph, plan and generated source."""
    import rnncore

    layer = current().get("cell", options.cell)(options.units, **options.chosen)
    print(rnncore.explain(layer))
