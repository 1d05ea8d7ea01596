"""The products that every loop calls, as the text of one module: compiled once a machine and dtype.

Functions are C functions of sixteen int64 (addresses, widths in bytes, counts), reached by address:
so loop kernels compile without them.

- ``gemm``: rows of C (+)= rows of A times a packed matrix; ``lookup`` the same for tokens. Given a board, where other
  threads wait for work, it shares its columns out: ``block`` does some of them.
- ``outer``: C += sum over rows of outer products; ``scatter`` the same for tokens.
- ``colsum``: c += sum over rows.  ``pack``: blocks of matrices into panels, by a table.
- ``team``: a gemm whose rows are shared out among threads; ``team_sums``: an outer and a colsum so.
"""

from __future__ import annotations

from .board import SHARE_TEXT
from .machine import Machine

__all__ = ["FUNCTIONS", "library_text", "panel_vectors", "products_text"]

FUNCTIONS = ("gemm", "block", "lookup", "outer", "scatter", "colsum", "pack", "team", "team_sums", "team_pack")


_PAIRED_BYTES = 2**16  # of a matrix that may be in the nearest cache; from one beyond, a single panel streams faster


def panel_vectors(machine: Machine) -> int:
    """Vectors of columns in a panel."""
    return 4 if machine.registers >= 32 else 2


def _largest_tile(machine: Machine, vectors: int) -> int:
    """Rows of the largest register tile for so many vectors: accumulators, a row of B and a broadcast fit."""
    return max(1, min((machine.registers - vectors - 2) // vectors, 6))


def library_text(dtype: str, machine: Machine) -> str:
    """The module's text for a dtype and a machine."""
    widest = panel_vectors(machine)
    outer = _outer_text(dtype, machine.lanes(dtype), widest, _largest_tile(machine, widest))
    return "\n".join([products_text(dtype, machine), outer, _REST, *_TEAMS, _TAIL])


def products_text(dtype: str, machine: Machine, stored: str = "") -> str:
    """The part of the text that multiplies by packed matrices, which may be `stored` as ``"bfloat16"``."""
    count, widest = machine.lanes(dtype), panel_vectors(machine)
    item = 4 if dtype == "float32" else 8
    weight, loads = (2, f"load_bfloat16({count})") if stored else (item, "load")
    return "\n".join([
        _HEAD.format(dtype=dtype, count=count, item=item, widest=widest, weight=weight, loads=loads),
        *(_rows_text(dtype, count, v, _largest_tile(machine, v), stored) for v in range(1, widest + 1)),
        f'tile_pair = tile_rows("{dtype}", {count}, 1, {2 * widest}, "{stored}", {widest})',
        _gemm_text(widest),
        _LOOKUP,
    ])  # fmt: skip


_HEAD = """\
from numba import cfunc
from rnncore.cpu.atomics import fetch_add, load_acquire, store_release, yield_thread
from rnncore.cpu.laneops import OPS
from rnncore.cpu.lanes import call, lanes, load_int, store_int
from rnncore.cpu.lower import addresses, lowered
from rnncore.cpu.tiles import load_bfloat16, tile_outer, tile_rows

F = lanes("{dtype}", {count})
load, load_n, store_n, load_one, store_one = F.load, F.load_n, F.store_n, F.load_one, F.store_one
transpose = F.transpose
add = OPS["add"]
COUNT, ITEM, WIDEST = {count}, {item}, {widest}
WEIGHT, load_weight = {weight}, {loads}
call_library = call(16)
"""


def _rows_text(dtype: str, count: int, vectors: int, largest: int, stored: str) -> str:
    """Rows are shared out evenly among as few tiles as hold them: 16 rows are 6 + 5 + 5, not 6 + 6 + 4."""
    sizes = range(largest, 0, -1)
    lines = [f'tile_{m}x{vectors} = tile_rows("{dtype}", {count}, {m}, {vectors}, "{stored}")' for m in sizes]
    lines += [
        "",
        "",
        "@lowered",
        f"def rows_{vectors}(a, lda, ia, sa, panel, c, ldc, ic, sc, m, k, add, start, last):",
        "    r = 0",
        f"    for tiles in range((m + {largest - 1}) // {largest}, 0, -1):",
        "        size = (m - r + tiles - 1) // tiles",
    ]
    for m in sizes:
        lines += [
            f"        {'if' if m == largest else 'elif'} size == {m}:",
            f"            tile_{m}x{vectors}(a, lda, ia + 8 * r, sa, panel, c, ldc, ic + 8 * r, sc,",
            f"            {' ' * len(f'tile_{m}x{vectors}')} k, add, start, last)",
        ]
    return "\n".join([*lines, "        r += size", "", ""])


def _gemm_text(widest: int) -> str:
    lines = [
        "@lowered",
        "def columns(a, lda, ia, sa, packed, c, ldc, ic, sc, m, n, k, onto, start):",
        "    width = WIDEST * COUNT",
        "    j0 = 0",
        f"    if m == 1 and n * k * WEIGHT <= {_PAIRED_BYTES}:  # four sums at once would wait for one another",
        "        for j in range(0, n - 2 * width + 1, 2 * width):",
        "            tile_pair(a, lda, ia, sa, packed + j * k * WEIGHT, c + j * ITEM, ldc, ic, sc,",
        "                      k, onto, start + j * ITEM, COUNT)",
        "        j0 = max(n // (2 * width), 0) * 2 * width",
        "    for j in range(j0, n, width):",
        "        vectors = min(WIDEST, (n - j + COUNT - 1) // COUNT)",
        "        last = min(COUNT, n - j - (vectors - 1) * COUNT)",
        "        panel = packed + j * k * WEIGHT",
        "        to = c + j * ITEM",
        "        origin = start + j * ITEM",
    ]
    for v in range(widest, 0, -1):
        lines += [
            f"        {'if' if v == widest else 'elif'} vectors == {v}:",
            f"            rows_{v}(a, lda, ia, sa, panel, to, ldc, ic, sc, m, k, onto, origin, last)",
        ]
    return "\n".join([*lines, "", "", SHARE_TEXT])


def _outer_text(dtype: str, count: int, widest: int, largest: int) -> str:
    """Columns of A are packed in even blocks of at most `largest`; a block meets every panel of B."""
    heights = range(largest, 0, -1)
    tiles = [f'outer_{m}x{v} = tile_outer("{dtype}", {count}, {m}, {v})' for m in heights for v in range(1, widest + 1)]
    blocks = []
    for m in heights:
        blocks += ["", "", "@lowered", f"def block_{m}({_BLOCK_ARGUMENTS}):"]
        blocks += _BLOCK.format(m=m).split("\n")
        for v in range(widest, 0, -1):
            blocks += [
                f"        {'if' if v == widest else 'elif'} vectors == {v}:",
                f"            outer_{m}x{v}(scratch, bm + j * ITEM, ldb, ib, sb, c + j * ITEM, ldc, rows, last)",
            ]
    calls = []
    for m in heights:
        calls += [f"        {'if' if m == largest else 'elif'} high == {m}:", f"            block_{m}({_BLOCK_VALUES})"]
    head = _OUTER.format(largest=largest, short=largest - 1)
    return "\n".join([*tiles, *blocks, "", "", head, *calls, "", ""])


_BLOCK_ARGUMENTS = "a, lda, ia, sa, bm, ldb, ib, sb, c, ldc, rows, n, scratch"
_BLOCK_VALUES = "a + first * ITEM, lda, ia, sa, bm, ldb, ib, sb, c + first * ldc, ldc, rows, n, scratch"

_BLOCK = """\
    for r in range(rows):
        row = a + (load_int(ia + 8 * r) + sa) * lda
        for i in range({m}):
            store_one(scratch + (r * {m} + i) * ITEM, load_one(row + i * ITEM))
    for j in range(0, n, WIDEST * COUNT):
        vectors = min(WIDEST, (n - j + COUNT - 1) // COUNT)
        last = min(COUNT, n - j - (vectors - 1) * COUNT)"""

_OUTER = """\
@lowered
def outer(a, lda, ia, sa, bm, ldb, ib, sb, c, ldc, rows, m, n, scratch, part, parts):
    tiles = (m + {short}) // {largest}
    for tile in range(part, tiles, parts):
        first = tile * (m // tiles) + min(tile, m % tiles)
        high = m // tiles + (1 if tile < m % tiles else 0)"""


_LOOKUP = """\
@lowered
def lookup(a, lda, ia, sa, packed, c, ldc, ic, sc, m, n, k, onto, start, u0, u1):
    width = WIDEST * COUNT
    for r in range(m):
        token = load_int(a + (load_int(ia + 8 * r) + sa) * lda)
        row = c + (load_int(ic + 8 * r) + sc) * ldc
        for j in range(0, n, width):
            vectors = min(WIDEST, (n - j + COUNT - 1) // COUNT)
            table = packed + (j * k + token * vectors * COUNT) * WEIGHT
            for v in range(vectors):
                at = (j + v * COUNT) * ITEM
                left = n - j - v * COUNT
                before = load_n(row + at, left) if onto else load_n(start + at, left)
                store_n(row + at, add(before, load_weight(table + v * COUNT * WEIGHT)), left)

"""

_REST = """\
@lowered
def scatter(a, lda, ia, sa, bm, ldb, ib, sb, c, ldc, rows, m, n, scratch, part, parts):
    for i in range(part, m, parts):
        for r in range(rows):
            token = load_int(bm + (load_int(ib + 8 * r) + sb) * ldb)
            value = load_one(a + (load_int(ia + 8 * r) + sa) * lda + i * ITEM)
            at = c + i * ldc + token * ITEM
            store_one(at, add(load_one(at), value))


@lowered
def colsum(a, lda, ia, sa, c, rows, n, part, parts, u0, u1, u2, u3, u4, u5, u6):
    for j in range(part * COUNT, n, parts * COUNT):
        left = n - j
        total = load_n(c + j * ITEM, left)
        for r in range(rows):
            total = add(total, load_n(a + (load_int(ia + 8 * r) + sa) * lda + j * ITEM, left))
        store_n(c + j * ITEM, total, left)


@lowered
def pack(table, many, base, source, u0, u1, u2, u3, u4, u5, u6, u7, u8, u9, u10, u11):
    width = WIDEST * COUNT
    for row in range(many):
        at = table + row * 80
        w, to = source + load_int(at), base + load_int(at + 8)
        stride_k, stride_n, k, n = load_int(at + 16), load_int(at + 24), load_int(at + 32), load_int(at + 40)
        k0, n0, total_k, total_n = load_int(at + 48), load_int(at + 56), load_int(at + 64), load_int(at + 72)
        j = 0
        while j < n:
            column = n0 + j
            panel = column // width * width
            wide = min(WIDEST, (total_n - panel + COUNT - 1) // COUNT) * COUNT
            several = min(n - j, wide - (column - panel), COUNT)
            start, target = w + j * stride_n, to + (panel * total_k + column - panel + k0 * wide) * ITEM
            if stride_n == ITEM:
                for i in range(k):
                    store_n(target + i * wide * ITEM, load_n(start + i * stride_k, several), several)
            else:
                for i in range(0, k, COUNT):
                    transpose(start + i * ITEM, stride_n, target + i * wide * ITEM, wide * ITEM, several, k - i)
            j += several

"""


def _team(name: str, head: str, tasks: str, body: str) -> str:
    """A function of a team: each thread takes tasks until none is left, or leaves when its place is needed."""
    return f"""\
@lowered
def {name}(job, part):
{head}
    task = fetch_add(turn, 1)
    while task < {tasks}:
{body}
        if load_acquire(room) < part:
            return
        task = fetch_add(turn, 1)

"""


_TEAMS = (
    _team("team", """\
    a, lda, rows, packed = load_int(job), load_int(job + 8), load_int(job + 16), load_int(job + 24)
    c, ldc, start, m = load_int(job + 32), load_int(job + 40), load_int(job + 48), load_int(job + 56)
    n, k, turn, slices = load_int(job + 64), load_int(job + 72), load_int(job + 80), load_int(job + 88)
    gemm, room = load_int(job + 96), load_int(job + 104)""", "slices", """\
        first, last = task * m // slices, (task + 1) * m // slices
        own = rows + 8 * first
        call_library(gemm, (a, lda, own, 0, packed, c, ldc, own, 0, last - first, n, k, 0, start, 0, 0))"""),
    _team("team_sums", """\
    a, lda, index, b = load_int(job), load_int(job + 8), load_int(job + 16), load_int(job + 24)
    ldb, c, ldc, sums = load_int(job + 32), load_int(job + 40), load_int(job + 48), load_int(job + 56)
    rows, m, n, scratch = load_int(job + 64), load_int(job + 72), load_int(job + 80), load_int(job + 88)
    stride, turn, parts, outer = load_int(job + 96), load_int(job + 104), load_int(job + 112), load_int(job + 120)
    colsum, room = load_int(job + 128), load_int(job + 136)
    own = scratch + part * stride""", "parts", """\
        call_library(outer, (a, lda, index, 0, b, ldb, index, 0, c, ldc, rows, m, n, own, task, parts))
        call_library(colsum, (a, lda, index, 0, sums, rows, m, task, parts, 0, 0, 0, 0, 0, 0, 0))"""),
    _team("team_pack", """\
    table, many, base, turn = load_int(job), load_int(job + 8), load_int(job + 16), load_int(job + 24)
    room, source = load_int(job + 32), load_int(job + 40)""", "many", """\
        pack(table + 80 * task, 1, base, source, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)"""),
)  # fmt: skip

_TAIL = """\
write_addresses = addresses(gemm, block, lookup, outer, scatter, colsum, pack, team, team_sums, team_pack)


@cfunc("void(int64)", error_model="numpy", fastmath={"contract", "nsz"})
def functions(to):
    write_addresses(to)
"""
