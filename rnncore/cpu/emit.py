"""From a plan to the text of one kernel: the whole loop, every value under its author's name."""

from __future__ import annotations

from collections.abc import Callable

from ..lang.ops import OPS
from ..plan.model import Plan, Product
from .region import emit_region
from .writer import ARITY, FUNCTION, Kernel, Writer

__all__ = ["TURN", "Kernel", "emit"]

TURN = 64  # bytes of a chunk's counts: slices taken and done, shares of its sums taken and done


def emit(plan: Plan, dtype: str, count: int, pretty: bool = False) -> Kernel:
    """Write the kernel of `plan` for `dtype` with vectors of `count` lanes.

    With `pretty` it carries the author's names and lines, for reading; without, its text depends
    on the structure alone, so that cells of one structure share one compiled kernel.
    """
    w = Writer(plan, dtype, count, pretty)
    _head(w)
    if plan.sums:  # a chunk's gradients are summed when all of its slices are through
        _chunks(w)
        w.put(f"turn = {w.pointer('tasks')} + {TURN} * chunk")
        _tasks(w, "turn", "slices", _slice)
        _sums(w)
        w.end()
    else:  # a slice goes through all of time without meeting another
        _tasks(w, w.pointer("tasks"), "slices", _loop, leaves=True)
    w.put("return")
    w.kernel.text = _module(w)
    return w.kernel


def _tasks(w: Writer, turn: str, tasks: str, body: Callable[[Writer], None], leaves: bool = False) -> None:
    """Take tasks until none is left; wait for those that others have taken, with `leaves` only where that may help.

    `turn` is the address of two counts: tasks taken, tasks done.
    """
    many = w.size(tasks)
    w.put(f"task = fetch_add({turn}, 1)")
    w.block(f"while task < {many}:")
    body(w)
    w.put(f"fetch_add({turn} + 8, 1)")
    w.block(f"if load_acquire({w.pointer('room')}) < part:  # another call needs the processor")
    w.put("return")
    w.end()
    w.put(f"task = fetch_add({turn}, 1)")
    w.end()
    if leaves:
        w.block(f"if part < {w.size('waiting')}:")
    part = "part" if leaves else "0"
    w.put(f"call_five({w.pointer('fn.wait')}, ({turn} + 8, {many}, {w.pointer('board')}, {w.pointer('room')}, {part}))")
    if leaves:
        w.end()


def _loop(w: Writer) -> None:
    _positions(w)
    _chunks(w)
    _own_chunk(w)
    w.end()


def _slice(w: Writer) -> None:
    _positions(w)
    _own_chunk(w)


def _chunks(w: Writer) -> None:
    w.size("chunks")
    w.block(f"for chunk in {'range(s_chunks - 1, -1, -1)' if w.plan.reverse else 'range(s_chunks)'}:")
    w.put(f"t0 = load_int({w.pointer('starts')} + 8 * chunk)")
    w.put(f"t1 = load_int({w.pointer('starts')} + 8 * chunk + 8)")
    w.put(f"r0 = load_int({w.pointer('offsets')} + 8 * t0)")


def _own_chunk(w: Writer) -> None:
    """A chunk of time for the rows of the slice `task`."""
    _own_rows(w)
    for product in w.plan.hoisted:
        _product(w, product, "chunk")
    _steps(w)
    for product in w.plan.post:
        _post(w, product)


def _head(w: Writer) -> None:
    for name in ("in", "y"):
        w.pointer(f"base.{name}")
    w.size("step")
    w.size("step_y")
    w.size("batch")
    w.size("list_rows")
    w.offsets()
    lists = w.pointer("lists")
    w.size("list_stride")
    w.head += [
        f"pos = {lists} + part * s_list_stride",
        "pos_in = pos + 8 * s_batch",
        "pos_y = pos_in + 8 * s_batch",
    ]
    for k, row in enumerate(_ROWS):
        w.head.append(f"list_{row} = pos_y + 8 * s_batch + 8 * s_list_rows * {k}")


def _positions(w: Writer) -> None:
    """The rows of the slice `task`: neighbours in the order of falling length, so that they end at about one time."""
    w.put("first, end = task * s_batch // s_slices, (task + 1) * s_batch // s_slices")
    w.put("for i in range(end - first):")
    w.put("    b = first + i")
    w.put("    store_int(pos + 8 * i, b)")
    w.put("    store_int(pos_in + 8 * i, load_int(p_base_in + 8 * b))")
    w.put("    store_int(pos_y + 8 * i, load_int(p_base_y + 8 * b))")


_ROWS = ("work", "saved", "prev", "next", "in", "y")


def _rows_of_step(w: Writer) -> None:
    """Shifts that turn a position in the batch into rows of every array, at step t."""
    plan = w.plan
    w.put("r_shift = load_int(p_offsets + 8 * t)")
    w.put("w_shift = r_shift - r0")
    w.put("next_shift = s_batch + r_shift")
    w.put("prev_shift = 0 if t == 0 else s_batch + load_int(p_offsets + 8 * t - 8)")
    odd, even = ("(t + 1) % 2", "t % 2") if plan.reverse else ("t % 2", "(t + 1) % 2")
    w.put(f"before_shift = {odd} * s_batch")
    w.put(f"after_shift = {even} * s_batch")


def _own_rows(w: Writer) -> None:
    """Index lists of the slice's rows of the chunk, for products over a chunk."""
    chunked = w.plan.hoisted + w.plan.post
    if not chunked:
        return
    rows = {"work"} | {w.locate(w.plan.place[v.id])[2] for pr in chunked for v in pr.operands}
    rows |= {"in"} if w.plan.post else set()
    _fill_lists(w, sorted(rows), own=True)


def _fill_lists(w: Writer, rows, own: bool) -> None:
    w.put("rows = 0")
    w.block("for t in range(t0, t1):")
    w.put(f"active = load_int({w.pointer('counts')} + 8 * t)")
    _rows_of_step(w)
    w.block("for b in range(first, min(active, end)):" if own else "for b in range(active):")
    for row in rows:
        value = {
            "work": "w_shift + b", "saved": "r_shift + b", "prev": "prev_shift + b", "next": "next_shift + b",
            "in": "load_int(p_base_in + 8 * b) + t * s_step", "y": "load_int(p_base_y + 8 * b) + t * s_step_y",
        }[row]  # fmt: skip
        w.put(f"store_int(list_{row} + 8 * rows, {value})")
    w.put("rows += 1")
    w.end()
    w.end()


def _product_id(w: Writer, product: Product) -> int:
    if id(product) not in w.product_ids:
        w.product_ids[id(product)] = len(w.kernel.packs)
        w.kernel.packs.append(product)
    return w.product_ids[id(product)]


def _call(w: Writer, function: str, *arguments: str) -> None:
    padded = [*arguments, *["0"] * (ARITY - len(arguments))]
    w.put(f"call_library({function}, ({', '.join(padded)}))")


def _inner(w: Writer, product: Product) -> str:
    """Length of the sum: exact for one operand, padded widths for several in a row."""
    if len(product.operands) == 1:
        return w.count_of(product.operands[0].shape[0])
    return "(" + " + ".join(w.width_of(v.shape[0]) for v in product.operands) + f") // {w.item}"


def _product(w: Writer, product: Product, span: str) -> None:
    """Slots (+)= operands times packed matrices, for the rows of a step or of the chunk."""
    k = _product_id(w, product)
    base, ld, row, _ = w.locate(w.plan.place[product.operands[0].id])
    rows, shift = w.list_and_shift(row, span)
    to, to_shift = w.list_and_shift("work", span)
    columns = " + ".join(w.width_of(s.dim) for s in product.slots)
    function = w.pointer("fn.gemm.in" if row == "in" else "fn.gemm")
    start = w.pointer(f"bias.{k}") if product.first else "0"
    if w.pretty:
        slots = " ".join(w.name(s.leaf) for s in product.slots)
        operands = " ".join(w.name(v) for v in product.operands)
        w.put(f"# {slots} {'=' if product.first else '+='} {operands} times {_matrices(product)}")
    _call(w, function, base, ld, rows, shift, w.pointer(f"pack.{k}"),
          f"{w.pointer('work')} + o_work_{product.slots[0].name}", "ld_work", to, to_shift,
          "rows", f"({columns}) // {w.item}", _inner(w, product), "0" if product.first else "1", start,
          w.pointer("board"), w.pointer("fn.block"))  # fmt: skip


def _matrices(product: Product) -> str:
    return " ".join(m.attrs[1] + (".T" if t else "") if m.op == "leaf" else m.op for m, t in product.blocks.values())


def _post(w: Writer, product: Product) -> None:
    """A product that only leaves the step: straight into the output sequence."""
    slot = product.slots[0]
    k = _product_id(w, product)
    base, ld, row, _ = w.locate(w.plan.place[product.operands[0].id])
    rows, shift = w.list_and_shift(row, "chunk")
    alone = not any(st.where == ("out", slot.out) for st in w.plan.stores)
    earlier = [p for p in w.plan.post if p.slots[0] is slot]
    first = alone and earlier[0] is product
    product.first = first
    out = w.pointer(f"out.{slot.out}")
    w.block(f"if {w.size(f'want.{slot.out}')}:")
    start = w.pointer(f"bias.{k}") if first else "0"
    _call(w, w.pointer("fn.gemm"), base, ld, rows, shift, w.pointer(f"pack.{k}"), out,
          w.size(f"ld.out.{slot.out}"), "list_in", "0", "rows_own", w.count_of(slot.dim), _inner(w, product),
          "0" if first else "1", start, w.pointer("board"), w.pointer("fn.block"))  # fmt: skip
    w.end()


def _steps(w: Writer) -> None:
    if w.plan.hoisted or w.plan.post:
        w.put("rows_own = rows")
    w.block("for t in (range(t1 - 1, t0 - 1, -1)):" if w.plan.reverse else "for t in range(t0, t1):")
    w.put(f"active = load_int({w.pointer('counts')} + 8 * t)")
    w.put("rows = min(active, end) - first")
    w.block("if rows > 0:")
    _rows_of_step(w)
    for wave, products in enumerate(w.plan.waves):
        for product in products:
            _product(w, product, "step")
        emit_region(w, wave)
    w.end()
    w.end()


def _sums(w: Writer) -> None:
    """Gradients of the chunk: all rows in one order, whoever computed them; outputs are shared out."""
    rows = set()
    for total in w.plan.sums:
        for a, b in total.pairs:
            rows |= {w.locate(w.plan.place[v.id])[2] for v in (a, b)}
        if total.value is not None:
            rows.add(w.locate(w.plan.place[total.value.id])[2])
    w.block(f"if load_acquire(turn + 16) < {w.size('shares')}:  # else a latecomer finds it all taken")
    _fill_lists(w, sorted(rows), own=False)
    w.end()
    _tasks(w, "turn + 16", "shares", _share)


def _share(w: Writer) -> None:
    scratch = f"{w.pointer('scratch')} + part * {w.size('scratch_stride')}"
    for total in w.plan.sums:
        out = w.pointer(f"sum.{total.name}")
        for a, b in total.pairs:
            abase, ald, arow, _ = w.locate(w.plan.place[a.id])
            bbase, bld, brow, _ = w.locate(w.plan.place[b.id])
            function = w.pointer("fn.outer.in" if brow == "in" else "fn.outer")
            m, n = w.count_of(a.shape[0]), w.count_of(b.shape[0])
            _call(w, function, abase, ald, f"list_{arow}", "0", bbase, bld, f"list_{brow}", "0",
                  out, f"{n} * {w.item}", "rows", m, n, scratch, "task", "s_shares")  # fmt: skip
        if total.value is not None:
            base, ld, row, _ = w.locate(w.plan.place[total.value.id])
            _call(w, w.pointer("fn.colsum"), base, ld, f"list_{row}", "0", out, "rows", w.count_of(total.dim),
                  "task", "s_shares")  # fmt: skip


def _module(w: Writer) -> str:
    ops = sorted(FUNCTION.get(o, o) + f' = OPS["{o}"]' for o, row in OPS.items() if row.pointwise and o not in
                 ("spread", "stop", "eye"))  # fmt: skip
    functions = "load load_n store store_n keep total largest load_one store_one spread".split()
    head = [
        "from numba import cfunc",
        "from rnncore.cpu.atomics import fetch_add, load_acquire",
        "from rnncore.cpu.laneops import OPS",
        "from rnncore.cpu.lanes import call, lanes, load_int, store_int",
        "from rnncore.cpu.lower import lowered",
        "",
        f'F = lanes("{w.dtype}", {w.count})',
        ", ".join(functions) + " = " + ", ".join(f"F.{f}" for f in functions),
        *ops,
        f"call_library, call_five = call({ARITY}), call(5)",
        "",
        "",
        "@lowered",
        "def kernel(job, part):",
        "    p, s, k = load_int(job), load_int(job + 8), load_int(job + 16)",
    ]
    return "\n".join([*head, *["    " + line for line in w.head], *w.lines, *_ENTRY])


_ENTRY = (
    "",
    "",
    '@cfunc("void(int64, int64)", error_model="numpy", fastmath={"contract", "nsz"})',
    "def entry(job, part):",
    "    kernel(job, part)",
    "",
)
