"""A vector of lanes as a numba value."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import register_model

__all__ = ["FLOATS", "Vector", "bits_of", "joint", "spread"]

FLOATS = {"float32": (ir.FloatType(), types.float32, 4), "float64": (ir.DoubleType(), types.float64, 8)}


class Vector(types.Type):
    """`count` lanes of float32, float64 or (for comparisons) bits."""

    def __init__(self, elem: str, count: int):
        self.elem, self.count = elem, count
        super().__init__(name=f"lanes({elem} x {count})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        elem = ir.IntType(1) if fe_type.elem == "bit" else FLOATS[fe_type.elem][0]
        super().__init__(dmm, fe_type, ir.VectorType(elem, fe_type.count))


def bits_of(ty):
    """The type of a comparison of values of type `ty`."""
    return Vector("bit", ty.count) if isinstance(ty, Vector) else types.boolean


def joint(a, b):
    """The type of a binary op: a scalar meets a vector by being spread."""
    return a if isinstance(a, Vector) else b


def spread(builder, value, ty, to):
    """`value` of type `ty` in every lane where `to` is a vector and `ty` is not, else as it is."""
    if isinstance(ty, Vector) or not isinstance(to, Vector):
        return value
    count = to.count
    vector = ir.VectorType(value.type, count)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    )
