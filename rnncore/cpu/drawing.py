"""Library functions of whole rows, called once for each row of a step; reached by address, like products."""

from __future__ import annotations

from functools import lru_cache

from .store import exported, load_module

__all__ = ["rowwise"]


@lru_cache(maxsize=4)
def rowwise(dtype: str) -> dict[str, int]:
    """Addresses of the functions by the names of their ops."""
    text = _TEXT.format(dtype=dtype, count=1, item=4 if dtype == "float32" else 8)
    (draw,) = exported(load_module(text), 1)
    return {"draw": draw}


_TEXT = '''\
from numba import cfunc
from rnncore.cpu.laneops import OPS
from rnncore.cpu.lanes import lanes
from rnncore.cpu.lower import addresses, lowered

F = lanes("{dtype}", {count})
load_one, store_one, exp = F.load_one, F.store_one, OPS["exp"]
ITEM = {item}
BELOW_ONE, INFINITE = 1 - 2.0**-53, float("inf")


@lowered
def value(a, i) -> float:
    return load_one(a + i * ITEM)


@lowered
def weight(v: float, largest: float, temperature: float) -> float:
    """What counts of a value: its share of the softmax, or, without a temperature, itself."""
    return exp((v - largest) / temperature) if temperature > 0 else 1.0


@lowered
def finite(v: float):
    return v - v == 0


@lowered
def extremes(a, n) -> (int, float, float):
    """Place of the largest value, that value, and the smallest that is finite."""
    place, largest, least = 0, value(a, 0), value(a, 0)
    for i in range(n):
        v = value(a, i)
        if v > largest or not largest == largest:
            place, largest = i, v
        if finite(v) and (v < least or not finite(least)):
            least = v
    return place, largest, least


@lowered
def above(a, n, largest: float, temperature: float, low: float) -> (float, float, float):
    """Mass of the values above `low`, the smallest of them, and the largest of the others."""
    mass, smallest, below = 0.0, largest, -INFINITE
    for i in range(n):
        v = value(a, i)
        if v > low:
            mass += weight(v, largest, temperature)
            smallest = min(smallest, v)
        elif v > below:
            below = v
    return mass, smallest, below


@lowered
def cut(a, n, largest: float, temperature: float, goal: float, low: float) -> (float, int):
    """The value down to which the largest reach the mass `goal`, and how many of those equal to it are needed."""
    high = largest
    while low < high:
        middle = low + (high - low) / 2
        if not middle < high:
            middle = low
        mass, smallest, below = above(a, n, largest, temperature, middle)
        if mass >= goal:
            low = smallest
        else:
            high = below
    mass = above(a, n, largest, temperature, low)[0]
    share = weight(low, largest, temperature)
    needed = 0
    while share > 0 and mass < goal and needed < n:
        mass += share
        needed += 1
    return low, max(needed, 1)


@lowered
def nth(a, n, temperature: float, largest: float, low: float, equal, u: float):
    """The place where the mass of what is kept passes the share u of all of it."""
    mass = 0.0
    for again in range(2):
        goal, total, ties, last = u * mass, 0.0, 0, 0
        for i in range(n):
            v = value(a, i)
            if v > low or v == low and ties < equal:
                ties += v == low
                total += weight(v, largest, temperature)
                if weight(v, largest, temperature) > 0:
                    last = i
                if again and total > goal:
                    return i
        mass = total
    return last


@lowered
def chosen(a, n, temperature: float, k: float, p: float, u: float):
    place, largest, low = extremes(a, n)
    if not temperature > 0 or not finite(largest):
        return place
    equal = n  # how many of those equal to the lowest are kept
    if k < n:
        low, equal = cut(a, n, largest, 0.0, k, low)
    mass = above(a, n, largest, temperature, low)[0]
    ties = 0
    for i in range(n):
        if value(a, i) == low and ties < equal:
            ties += 1
    mass += ties * weight(low, largest, temperature)
    if p < 1:
        lowest, fewest = cut(a, n, largest, temperature, p * mass, low)
        equal = min(fewest, equal) if lowest == low else fewest
        low = lowest
    return nth(a, n, temperature, largest, low, equal, u)


@lowered
def draw(a, how, out, n, width, u5, u6, u7, u8, u9, u10, u11, u12, u13, u14, u15):
    u = min(value(how, 3), BELOW_ONE)
    place = chosen(a, n, value(how, 0), value(how, 1), value(how, 2), u)
    for i in range(width // ITEM):
        store_one(out + i * ITEM, 1.0 if i == place else 0.0)


write_addresses = addresses(draw)


@cfunc("void(int64)", error_model="numpy", fastmath={{"contract", "nsz"}})
def functions(to):
    write_addresses(to)
'''
