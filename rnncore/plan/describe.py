"""A plan in words: what leaves the loop, what each wave computes, what is kept and summed."""

from __future__ import annotations

from .model import Plan, Product

__all__ = ["describe_plan"]


def describe_plan(plan: Plan) -> str:
    """One line for every product, region, kept value and gradient."""
    lines = [f"{'t = T-1 .. 0' if plan.reverse else 't = 0 .. T-1'}, states {', '.join(plan.states)}"]
    for product in plan.hoisted:
        lines.append(f"  before a chunk: {_product(plan, product)}")
    for wave, products in enumerate(plan.waves):
        for product in products:
            lines.append(f"  wave {wave}: {_product(plan, product)}")
        for st in plan.stores:
            if plan.ready[st.node.id][0] == wave:
                lines.append(f"  wave {wave}: {' '.join(st.where)} <- {plan.names.get(st.node.id, '?')}")
    for product in plan.post:
        lines.append(f"  after a chunk: out {product.slots[0].out} += {_product(plan, product)}")
    for total in plan.sums:
        what = ", ".join(f"{plan.names.get(a.id, '?')} x {plan.names.get(b.id, '?')}" for a, b in total.pairs)
        lines.append(f"  summed over a chunk: d{total.name} += {what or 'rows'}")
    if plan.saved:
        lines.append(f"  saved for BPTT: {', '.join(plan.saved)}; history of: {', '.join(plan.history) or 'none'}")
    return "\n".join(lines)


def _product(plan: Plan, product: Product) -> str:
    matrices = " ".join(m.attrs[1] + ("'" if t else "") if m.op == "leaf" else m.op for m, t in product.blocks.values())
    operands = ", ".join(plan.names.get(v.id, "?") for v in product.operands)
    slots = ", ".join(s.name for s in product.slots)
    return f"[{slots}] {'=' if product.first else '+='} [{matrices}] [{operands}]"
