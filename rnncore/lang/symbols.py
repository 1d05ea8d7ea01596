"""What can be done with a symbol: the operators, and in plain words what it is not."""

from __future__ import annotations

from .origin import fail

__all__ = ["Arithmetic"]

_UFUNCS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "less": "lt", "less_equal": "le",
    "greater": "gt", "greater_equal": "ge", "equal": "eq", "not_equal": "ne",
    "matmul": "matmul",
}  # fmt: skip


class Arithmetic:
    """Operators of everything that stands for a value in a step."""

    __slots__ = ()

    def _op(self, name, *args):
        from .ops import apply

        return apply(name, *args)

    def __add__(self, o):
        return self._op("add", self, o)

    def __radd__(self, o):
        return self._op("add", o, self)

    def __sub__(self, o):
        return self._op("sub", self, o)

    def __rsub__(self, o):
        return self._op("sub", o, self)

    def __mul__(self, o):
        return self._op("mul", self, o)

    def __rmul__(self, o):
        return self._op("mul", o, self)

    def __truediv__(self, o):
        return self._op("div", self, o)

    def __rtruediv__(self, o):
        return self._op("div", o, self)

    def __neg__(self):
        return self._op("neg", self)

    def __pos__(self):
        return self

    def __abs__(self):
        return self._op("abs", self)

    def __lt__(self, o):
        return self._op("lt", self, o)

    def __le__(self, o):
        return self._op("le", self, o)

    def __gt__(self, o):
        return self._op("gt", self, o)

    def __ge__(self, o):
        return self._op("ge", self, o)

    def __and__(self, o):
        return self._op("and", self, o)

    def __or__(self, o):
        return self._op("or", self, o)

    def __invert__(self):
        return self._op("not", self)

    def __pow__(self, exponent):
        from .functions import power

        return power(self, exponent)

    @property
    def T(self):
        return self._op("transpose", self)

    def __bool__(self):
        raise fail(
            "`if`, `while`, `and`, `or` and `not` cannot decide on a symbol: the step is traced once, "
            "before there are numbers; write where(condition, a, b), with & | ~ between conditions, or decide on an "
            "option"
        )

    def __float__(self):
        raise fail("a symbol is not a number: use the functions of rnncore.lang, not those of math or numpy")

    __int__ = __index__ = __float__

    def __array_ufunc__(self, ufunc, method, *args, **kwargs):
        """Operators between NumPy's numbers and symbols are ours; NumPy's functions are not."""
        name = _UFUNCS.get(ufunc.__name__)
        if name is None or method != "__call__" or kwargs:
            raise fail(f"np.{ufunc.__name__} cannot take a symbol: use the functions of rnncore.lang")
        return self._op(name, *args)

    def __array_function__(self, function, types, args, kwargs):
        raise fail(f"np.{function.__name__} cannot take a symbol: use the functions of rnncore.lang")

    def __array__(self, *args, **kwargs):
        raise fail("a symbol is not an array: use the functions of rnncore.lang, not those of numpy")

    def __iter__(self):
        raise fail("a symbol cannot be taken apart: it stands for a whole vector of units")

    def __getitem__(self, key):
        raise fail("a symbol cannot be indexed: it stands for a whole vector of units")

    def __setitem__(self, key, value):
        raise fail("a symbol cannot be written to: it stands for a vector of units; give a new value a new name")

    def __len__(self):
        raise fail("the number of units is not known while the step is traced: size(a) stands for it")

    def __mod__(self, other):
        raise fail("there is no division with remainder in the language of steps")

    __rmod__ = __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = __mod__

    def __matmul__(self, other):
        return self._op("matmul", self, other)

    def __rmatmul__(self, other):
        return self._op("matmul", other, self)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise fail(f"a symbol has no attribute {name!r}: use the functions of rnncore.lang")
