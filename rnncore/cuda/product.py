"""Products of a step: a thread sums a few rows times a few columns over a share of the inner size, in registers.

Sums go to shared memory, share by share, and are added up in that order by the thread that has the row and unit.
"""

from __future__ import annotations

from ..plan.model import Product, Slot
from .writer import Writer

__all__ = ["emit_product", "head_of_products", "partial_sum", "stage_weights"]


def _index(w: Writer, product: Product) -> int:
    return next(k for k, p in enumerate(w.kernel.products) if p is product)


def head_of_products(w: Writer) -> None:
    """Sizes of every product: own columns, where each slot's begin, inner size, places in shared memory."""
    for k, product in enumerate(w.kernel.products):
        for v in product.operands:
            w.count_of(v.shape[0])
        for slot in product.slots:
            w.own(slot.dim)
        inner = " + ".join(w.count_of(v.shape[0]) for v in product.operands)
        w.head.append(f"inner{k} = {inner}")
        first, full = "0", "0"
        for j, slot in enumerate(product.slots):
            w.head.append(f"first_{k}_{j} = {first}")
            w.head.append(f"full_{k}_{j} = {full}")
            first, full = f"first_{k}_{j} + {w.own(slot.dim)[1]}", f"full_{k}_{j} + {w.count_of(slot.dim)}"
        w.head.append(f"cols_{k} = {first}")
        w.head.append(f"wide_{k} = {full}")
        w.size(f"split.{k}")
        w.pointer(f"pack.{k}")
    _shared_memory(w)


def _shared_memory(w: Writer) -> None:
    """Where resident weights, the sums of a wave's products, the numbers of rows, and those of teams begin."""
    at = "0"
    for k, resident in enumerate(w.tiling.resident):
        if resident:
            w.head.append(f"held_{k} = {at}")
            at = f"held_{k} + inner{k} * cols_{k}"
    w.head.append(f"p_partials = {at}")
    w.head.append("p_sums = p_partials")
    for wave in w.plan.waves:
        at = "p_partials"
        for product in wave:
            k = _index(w, product)
            w.head.append(f"partial_{k} = {at}")
            at = f"partial_{k} + s_split_{k} * s_tile * cols_{k}"
        if wave:
            w.head.append(f"p_sums = max(p_sums, {at})")
    w.head.append(f"p_scratch = p_sums + {len(w.kernel.sums)} * s_room")


def stage_weights(w: Writer) -> None:
    """Bring the weights of resident products into shared memory, once a launch."""
    for k, resident in enumerate(w.tiling.resident):
        if resident:
            w.block(f"for q in range(tid, inner{k} * cols_{k}, width):")
            w.put(f"k = q // cols_{k}")
            w.put(f"u = q % cols_{k}")
            w.put(f"store(shm, held_{k} + q, load(weights, p_pack_{k} + k * wide_{k} + {_column(w, k, 'u')}))")
            w.end()
    if any(w.tiling.resident):
        w.put("sync()")


def _column(w: Writer, k: int, c: str) -> str:
    """The column of the packed matrix that is the block's own column `c`."""
    slots, text = w.kernel.products[k].slots, ""
    for j, slot in enumerate(slots):
        first = w.own(slot.dim)[0]
        here = f"full_{k}_{j} + {first} + {c} - first_{k}_{j}"
        last = j == len(slots) - 1
        text += f"({here})" if last else f"({here}) if {c} < first_{k}_{j + 1} else "
    return f"({text})"


def emit_product(w: Writer, product: Product) -> None:
    """Sum one product for the rows of the tile into shared memory."""
    k, tiling = _index(w, product), w.tiling
    array, base, ld, kind = w.locate(w.plan.place[product.operands[0].id])
    resident = tiling.resident[k]
    if w.pretty:
        slots = " ".join(w.name(s.leaf) for s in product.slots)
        w.put(f"# {slots}: {' '.join(w.name(v) for v in product.operands)} times {_matrices(product)}")
    w.put(f"groups = (cols_{k} + {tiling.columns - 1}) // {tiling.columns}")
    w.put(f"tops = (many + {tiling.rows - 1}) // {tiling.rows}")
    w.block(f"for q in range(tid, groups * tops * s_split_{k}, width):")
    w.put("e = q // groups // tops")
    w.put(f"k0 = e * inner{k} // s_split_{k}")
    w.put(f"k1 = (e + 1) * inner{k} // s_split_{k}")
    for j in range(tiling.columns):
        w.put(f"uc{j} = q % groups + {j} * groups")
        c = f"min(uc{j}, cols_{k} - 1)"
        if resident:
            w.put(f"at_w{j} = held_{k} + {c} + k0 * cols_{k}")
        else:
            w.put(f"uw{j} = {c}")
            w.put(f"at_w{j} = p_pack_{k} + {_column(w, k, f'uw{j}')} + k0 * wide_{k}")
    for i in range(tiling.rows):
        w.put(f"ur{i} = q // groups % tops + {i} * tops")
        row = w.row(kind, f"b0 + i0 + min(ur{i}, many - 1)")
        w.put(f"at_x{i} = {base} + {row} * {ld} + k0")
    pairs = [(i, j) for i in range(tiling.rows) for j in range(tiling.columns)]
    for i, j in pairs:
        w.put(f"acc_{i}_{j} = {w.zero()}")
    w.block("for k in range(k1 - k0):")
    step = f"cols_{k}" if resident else f"wide_{k}"
    for j in range(tiling.columns):
        w.put(f"y{j} = load({'shm' if resident else 'weights'}, at_w{j} + k * {step})")
    for i in range(tiling.rows):
        w.put(f"x{i} = load({array}, at_x{i} + k)")
    for i, j in pairs:
        w.put(f"acc_{i}_{j} = fma(x{i}, y{j}, acc_{i}_{j})")
    w.end()
    for i, j in pairs:
        w.put(f"if ur{i} < many and uc{j} < cols_{k}:")
        w.put(f"    store(shm, partial_{k} + (e * s_tile + ur{i}) * cols_{k} + uc{j}, acc_{i}_{j})")
    w.end()


def partial_sum(w: Writer, body, product: Product, slot: Slot, name: str) -> None:
    """Add the shares of a product to a slot's value."""
    k = _index(w, product)
    j = next(j for j, s in enumerate(product.slots) if s is slot)
    first = w.own(slot.dim)[0]
    body.put(f"for e in range(s_split_{k}):")
    at = f"partial_{k} + (e * s_tile + i - i0) * cols_{k} + first_{k}_{j} + u - {first}"
    body.put(f"    {name} = add({name}, load(shm, {at}))")


def _matrices(product: Product) -> str:
    return " ".join(m.attrs[1] + (".T" if t else "") if m.op == "leaf" else m.op for m, t in product.blocks.values())
