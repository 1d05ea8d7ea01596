"""A product's columns shared out among threads: with one sequence there is nothing else to share.

One thread runs the loop. The others, which wait for it to end, look at a board: an int64, how many blocks of the
product at hand nobody has taken yet. Who takes one off has it to do, the owner of the board among them; so nobody is
waited for who has not begun. Each element is summed as it is by one thread alone: bits do not depend on who took what.

In bytes from its beginning a board holds: the number of blocks to be taken; at `DONE` the number of those done, and the
function that does one, ``block(board, number)``; at `ARGUMENTS` those of the product.
"""

from __future__ import annotations

__all__ = ["BOARD", "DONE", "SHARED", "SHARE_TEXT"]

BOARD, DONE, ARGUMENTS = 320, 64, 128  # the first is the size
SHARED = 2**16  # multiply-adds of a product that are worth another thread

_PRODUCT = "a, lda, ia, sa, packed, c, ldc, ic, sc, m, n, k, onto, start"
_STORES = "\n".join(f"    store_int(at + {8 * i}, {name})" for i, name in enumerate(_PRODUCT.split(", ")))

SHARE_TEXT = f"""\
@lowered
def block(board, number):
    at = board + {ARGUMENTS}
    a, lda, ia, sa, packed = load_int(at), load_int(at + 8), load_int(at + 16), load_int(at + 24), load_int(at + 32)
    c, ldc, ic, sc, m = load_int(at + 40), load_int(at + 48), load_int(at + 56), load_int(at + 64), load_int(at + 72)
    n, k, onto, start = load_int(at + 80), load_int(at + 88), load_int(at + 96), load_int(at + 104)
    wide = load_int(at + 112)
    j = number * wide
    columns(a, lda, ia, sa, packed + j * k * WEIGHT, c + j * ITEM, ldc, ic, sc, m, min(wide, n - j), k, onto,
            start + j * ITEM)


@lowered
def share({_PRODUCT}, board, own):
    at = board + {ARGUMENTS}
{_STORES}
    width = 2 * WIDEST * COUNT
    panels = (n + width - 1) // width
    blocks = min(max(m * n * k // {SHARED}, 2), 16, panels)
    wide = (panels + blocks - 1) // blocks * width
    blocks = (n + wide - 1) // wide
    store_int(at + 112, wide)
    store_int(board + {DONE} + 8, own)
    store_release(board + {DONE}, 0)
    store_release(board, blocks)
    number = fetch_add(board, -1)
    while number > 0:
        block(board, number - 1)
        fetch_add(board + {DONE}, 1)
        number = fetch_add(board, -1)
    spins = 0
    while load_acquire(board + {DONE}) < blocks:
        spins += 1
        if spins > 500000:
            yield_thread()


@lowered
def gemm({_PRODUCT}, board, own):
    if board != 0 and m * n * k >= {SHARED}:
        share({_PRODUCT}, board, own)
    else:
        columns({_PRODUCT})


"""
