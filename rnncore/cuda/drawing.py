"""How the class of a row is drawn: text of device functions that kernels which draw have in them."""

from __future__ import annotations

__all__ = ["drawing"]


def drawing(dtype: str) -> str:
    """The text for numbers of `dtype`: a comparison with an integer would be one of float64 numbers on a device."""
    return _TEXT.replace("NUMBER", dtype)


_TEXT = '''

@function
def weight(v, largest, temperature):
    """What counts of a value: its share of the softmax, or, without a temperature, itself."""
    if temperature > 0:
        return exp(div(sub(v, largest), temperature))
    return exp(sub(v, v))


@function
def finite(v):
    return v - v == 0


@function
def above(a, at, n, largest, temperature, low):
    """Mass of the values above `low`, the smallest of them, and the largest of the others."""
    mass, smallest, below = sub(low, low), largest, low
    known = False
    for i in range(n):
        v = load(a, at + i)
        if v > low:
            mass = add(mass, weight(v, largest, temperature))
            smallest = minimum(smallest, v)
        elif not known or v > below:
            below, known = v, True
    return mass, smallest, below


@function
def cut(a, at, n, largest, temperature, goal, low):
    """The value down to which the largest reach the mass `goal`, and how many of those equal to it are needed."""
    high, half = largest, div(exp(sub(low, low)), add(exp(sub(low, low)), exp(sub(low, low))))
    while low < high:
        middle = add(low, mul(sub(high, low), half))
        if not middle < high:
            middle = low
        mass, smallest, below = above(a, at, n, largest, temperature, middle)
        if mass >= goal:
            low = smallest
        else:
            high = below
    mass, smallest, below = above(a, at, n, largest, temperature, low)
    share = weight(low, largest, temperature)
    needed = 0
    while share > 0 and mass < goal and needed < n:
        mass = add(mass, share)
        needed += 1
    return low, max(needed, 1)


@function
def chosen(a, at, n, temperature, k, p, u):
    place, largest, low = 0, load(a, at), load(a, at)
    for i in range(n):
        v = load(a, at + i)
        if v > largest or not largest == largest:
            place, largest = i, v
        if finite(v) and (v < low or not finite(low)):
            low = v
    if not temperature > 0 or not finite(largest):
        return place
    zero = sub(largest, largest)
    one = exp(zero)
    equal = n
    if k < NUMBER(n):
        low, equal = cut(a, at, n, largest, zero, k, low)
    mass, smallest, below = above(a, at, n, largest, temperature, low)
    ties = 0
    for i in range(n):
        if load(a, at + i) == low and ties < equal:
            ties += 1
            mass = add(mass, weight(low, largest, temperature))
    if p < one:
        lowest, fewest = cut(a, at, n, largest, temperature, mul(p, mass), low)
        equal = min(fewest, equal) if lowest == low else fewest
        low = lowest
    total = zero
    for again in range(2):
        goal, passed, ties, last = mul(u, total), zero, 0, 0
        for i in range(n):
            v = load(a, at + i)
            if v > low or v == low and ties < equal:
                if v == low:
                    ties += 1
                share = weight(v, largest, temperature)
                passed = add(passed, share)
                if share > 0:
                    last = i
                if again == 1 and passed > goal:
                    return i
        total = passed
    return last


@function
def draw(a, at, how, at_how, out, at_out, n):
    """One-hot of the class that is drawn from the values `a`; `how`: temperature, top-k, top-p, a uniform number."""
    temperature, k, p = load(how, at_how), load(how, at_how + 1), load(how, at_how + 2)
    place = chosen(a, at, n, temperature, k, p, load(how, at_how + 3))
    zero = sub(temperature, temperature)
    for i in range(n):
        store(out, at_out + i, exp(zero) if i == place else zero)
'''
