"""Products of a step: a few rows times a few columns are summed in registers over a share of the inner size.

Where there are many sums, each thread has its own, and threads side by side have columns side by side. Where there are
few, a warp has them together, and its lanes have inner indices side by side: `Tiling.laned`. Where operands may be
rounded, tensor cores sum for a warp: `rnncore.cuda.tensor`. Sums go to shared memory, share by share, and are added up
in that order by the thread that has the row and unit.

A block's weights lie together: row by row of inner indices, of `pad` columns; or column by column, where each operand's
inner indices begin at a multiple of four. So do rows of states and of work, and four numbers are read at a time.
"""

from __future__ import annotations

from ..plan.model import Product
from .tensor import head_of_tiles, tile_of
from .writer import Writer

__all__ = ["emit_product", "head_of_products", "partial_sums", "stage_weights"]


def _index(w: Writer, product: Product) -> int:
    return next(k for k, p in enumerate(w.kernel.products) if p is product)


def head_of_products(w: Writer) -> None:
    """Sizes of every product, places in shared memory, and the first sums of each thread or warp."""
    for k, product in enumerate(w.kernel.products):
        for slot in product.slots:
            w.own(slot.dim)
        first = "0"
        for j, slot in enumerate(product.slots):
            w.head.append(f"first_{k}_{j} = {first}")
            first = f"first_{k}_{j} + {w.own(slot.dim)[1]}"
        columns = head_of_tiles(w, k, product) if w.tiling.tensor else _head_of_weights(w, k, product)
        w.head.append(f"groups{k} = ({first} + {columns - 1}) // {columns}")
        w.head.append(f"tops{k} = (s_tile + {w.tiling.rows - 1}) // {w.tiling.rows}")
        w.head.append(f"items{k} = groups{k} * tops{k} * s_split_{k}")
        w.head += _decomposed(k, f"first_e{k}", f"first_top{k}", f"first_group{k}", _unit(w, k)[0])
    _shared_memory(w)


def _head_of_weights(w: Writer, k: int, product: Product) -> int:
    """Where the weights of a product's operands lie; how many columns a thread, or a warp, has."""
    rows, wide = "0", "0"
    for o, v in enumerate(product.operands):
        n = w.count_of(v.shape[0])
        w.head.append(f"from_{k}_{o} = {wide if w.tiling.laned[k] else rows}")
        rows, wide = f"from_{k}_{o} + {n}", f"from_{k}_{o} + ({n} + 3) // 4 * 4"
    w.head.append(f"inner{k} = {wide if w.tiling.laned[k] else rows}")
    for name in (f"split.{k}", f"pad.{k}", *([] if w.tiling.resident[k] else [f"near.{k}"])):
        w.size(name)
    w.head.append(f"at_pack{k} = {w.pointer(f'pack.{k}')} + member * inner{k} * s_pad_{k}")
    return w.tiling.columns


def _held(w: Writer, k: int) -> str:
    """Numbers of a product's weights that stay near."""
    resident = w.tiling.resident[k]
    if w.tiling.tensor:
        return f"pack{k}" if resident else "0"
    return f"{f'inner{k}' if resident else f's_near_{k}'} * s_pad_{k}"


def _unit(w: Writer, k: int) -> tuple[str, str]:
    """Who has a sum, and how many there are of these: warps or threads."""
    return ("warp", "warps") if w.tiling.laned[k] else ("tid", "width")


def _decomposed(k: int, share: str, top: str, group: str, q: str) -> list[str]:
    """The share of the inner size, the rows and the columns of item `q`."""
    return [
        f"{share} = quotient({q}, max(groups{k} * tops{k}, 1))",
        f"{group} = {q} - {share} * groups{k} * tops{k}",
        f"{top} = quotient({group}, max(groups{k}, 1))",
        f"{group} -= {top} * groups{k}",
    ]


def _shared_memory(w: Writer) -> None:
    """Where resident weights, the sums of a wave's products, and the numbers of rows begin."""
    at = "0"
    for k in range(len(w.tiling.resident)):
        w.head.append(f"held_{k} = {at}")
        at = f"held_{k} + {_held(w, k)}"
    w.head.append(f"p_partials = {at}")
    w.head.append("p_sums = p_partials")
    for wave in w.plan.waves:
        at = "p_partials"
        for product in wave:
            k = _index(w, product)
            w.head.append(f"partial_{k} = {at}")
            at = f"partial_{k} + s_split_{k} * s_tile * s_pad_{k}"
        if wave:
            w.head.append(f"p_sums = max(p_sums, {at})")


def stage_weights(w: Writer) -> None:
    """Bring the weights that stay near into shared memory, once a launch."""
    for k, resident in enumerate(w.tiling.resident):
        if w.tiling.tensor and not resident:
            continue
        at = "q"
        w.put("q = tid")
        w.block(f"while q < {_held(w, k)}:")
        if w.tiling.laned[k] and not resident:
            w.put(f"e = quotient(q, s_near_{k})")
            at = f"q + e * (inner{k} - s_near_{k})"
        w.put(f"store(shm, held_{k} + q, load(weights, at_pack{k} + {at}))")
        w.put("q += width")
        w.end()
    if w.tiling.resident:
        w.put("sync()")


def emit_product(w: Writer, product: Product) -> None:
    """Sum one product for the rows of the tile into shared memory."""
    k, tiling = _index(w, product), w.tiling
    first, step = _unit(w, k)
    if w.pretty:
        slots = " ".join(w.name(s.leaf) for s in product.slots)
        w.put(f"# {slots}: {' '.join(w.name(v) for v in product.operands)} times {_matrices(product)}")
    w.put(f"q, e, top, group = {first}, first_e{k}, first_top{k}, first_group{k}")
    w.block(f"while q < items{k}:")
    w.block(f"if top * {tiling.rows} < many:" if tiling.tensor else "if top < many:")
    if tiling.tensor:
        tile_of(w, product, k)
    else:
        _registers(w, product, k)
    w.end()
    w.put(f"q += {step}")
    w.block(f"if q < items{k}:")
    for line in _decomposed(k, "e", "top", "group", "q"):
        w.put(line)
    w.end(2)


def _registers(w: Writer, product: Product, k: int) -> None:
    """A thread's or a warp's rows and columns, in registers."""
    tiling = w.tiling
    row = _tuple([w.zero()] * tiling.columns)
    w.put(f"acc = {_tuple([row] * tiling.rows)}")
    for o in range(len(product.operands)):
        _operand(w, product, k, o)
    w.put(f"at = partial_{k} + (e * s_tile + top) * s_pad_{k} + group * {tiling.columns}")
    lane, own = ("lane, ", "") if tiling.laned[k] else ("", "own_")
    w.put(f"set_{own}sums({lane}shm, at, tops{k} * s_pad_{k}, top, tops{k}, many, acc)")


def _tuple(parts: list[str]) -> str:
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _operand(w: Writer, product: Product, k: int, o: int) -> None:
    """Add the terms of one operand to the sums: those whose weights are near, then the others."""
    tiling, operand = w.tiling, product.operands[o]
    array, base, ld, kind = w.locate(w.plan.place[operand.id])
    count = w.count_of(operand.shape[0])
    rows = [w.row(kind, f"b0 + i0 + min(top + {i} * tops{k}, many - 1)") for i in range(tiling.rows)]
    for i, row in enumerate(rows):
        w.put(f"at_x{i} = {base} + {row} * {ld}")
    w.put(f"at_x = {_tuple([f'at_x{i}' for i in range(tiling.rows)])}")
    if not tiling.laned[k]:
        w.put(f"share = quotient({count} + 4 * s_split_{k} - 1, 4 * s_split_{k}) * 4")
        w.put(f"k, end = e * share, min((e + 1) * share, {count})")
    else:
        w.put("k = 4 * (lane + e * WARP)")
    terms = _lanes_terms if tiling.laned[k] else _threads_terms
    if not tiling.resident[k]:
        last = count if tiling.laned[k] else "end"
        w.put(f"near = min(s_near_{k} - from_{k}_{o}, {last})")
        terms(w, k, o, array, "shm", "near")
    terms(w, k, o, array, "shm" if tiling.resident[k] else "weights", count if tiling.laned[k] else "end")
    _rest(w, k, array, count)


def _start(w: Writer, k: int, matrix: str) -> str:
    """Where a member's weights begin."""
    return f"held_{k}" if matrix == "shm" else f"at_pack{k}"


def _lanes_terms(w: Writer, k: int, o: int, array: str, matrix: str, end: str) -> None:
    """Each lane's terms up to `end`, four neighbours at a time."""
    columns = w.tiling.columns
    inner = f"s_near_{k}" if matrix == "shm" and not w.tiling.resident[k] else f"inner{k}"
    for j in range(columns):
        w.put(f"at_w{j} = {_start(w, k, matrix)} + (group * {columns} + {j}) * {inner} + from_{k}_{o}")
    w.put(f"at_w = {_tuple([f'at_w{j}' for j in range(columns)])}")
    w.block(f"while k + 4 <= {end}:")
    w.put(f"acc = lane_terms4(acc, {array}, at_x, k, {matrix}, at_w)")
    w.put(f"k += 4 * WARP * s_split_{k}")
    w.end()


def _threads_terms(w: Writer, k: int, o: int, array: str, matrix: str, end: str) -> None:
    """A thread's terms up to `end`, but for less than four."""
    w.put(f"at_w = {_start(w, k, matrix)} + from_{k}_{o} * s_pad_{k} + group * {w.tiling.columns}")
    for many in (8, 4) if w.tiling.rows <= 4 else (4,):  # reads of a row have one address; registers hold so many
        w.block(f"while k + {many} <= {end}:")
        for first in range(0, many, 4):
            w.put(f"acc = terms4(acc, {array}, at_x, k + {first}, {matrix}, at_w, s_pad_{k})")
        w.put(f"k += {many}")
        w.end()


def _rest(w: Writer, k: int, array: str, count: str) -> None:
    """What is left of an operand when four terms are no longer there."""
    laned, matrix = w.tiling.laned[k], "shm" if w.tiling.resident[k] else "weights"
    if laned:
        w.put(f"k = {count} // 4 * 4 + lane")
    w.block(f"while e == 0 and k < {count}:" if laned else "while k < end:")
    if laned:
        w.put(f"acc = lane_term(acc, {array}, at_x, k, {matrix}, at_w)")
    else:
        w.put(f"acc = term(acc, {array}, at_x, k, {matrix}, at_w, s_pad_{k})")
    w.put("k += WARP" if laned else "k += 1")
    w.end()


def partial_sums(w: Writer, body, product: Product, slots: dict[int, str]) -> None:
    """Add the shares of a product to its slots' values, of which `slots` gives the variables."""
    k = _index(w, product)
    found = [(j, slots[id(slot)]) for j, slot in enumerate(product.slots) if id(slot) in slots]
    for j, _ in found:
        first = w.own(product.slots[j].dim)[0]
        body.put(f"at_z{k}_{j} = partial_{k} + r * s_pad_{k} + first_{k}_{j} + u - {first}")
    body.put("e = 0")
    for many in (4, 1):  # reads of several shares wait together
        body.block(f"while e + {many} <= s_split_{k}:")
        for j, name in found:
            parts = [f"load(shm, at_z{k}_{j} + (e + {n}) * s_tile * s_pad_{k})" for n in range(many)]
            total = f"add(add({parts[0]}, {parts[1]}), add({parts[2]}, {parts[3]}))" if many == 4 else parts[0]
            body.put(f"{name} = add({name}, {total})")
        body.put(f"e += {many}")
        body.end()


def _matrices(product: Product) -> str:
    return " ".join(m.attrs[1] + (".T" if t else "") if m.op == "leaf" else m.op for m, t in product.blocks.values())
