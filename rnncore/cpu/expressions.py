"""Values of a kernel's text as LLVM IR: integers, float64 numbers, conditions, and what functions return.

The type of each is known from its parts (see `rnncore.cpu.lower`). A division's divisor is not 0.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

__all__ = ["Expressions", "Value"]

_I64, _F64, _BIT = ir.IntType(64), ir.DoubleType(), ir.IntType(1)
_FLOATS = {types.float32, types.float64}
_FLOAT_OPERATIONS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


class Value:
    """A numba type, and the LLVM value of it."""

    __slots__ = ("type", "value")

    def __init__(self, of, value):
        self.type, self.value = of, value


class Expressions:
    """The values of one function while it is written. Variables lie on the stack; LLVM makes registers of them."""

    def __init__(self, made: ir.Function, scope: dict[str, Any], context, typingctx):
        self.scope, self.context, self.typingctx = scope, context, typingctx
        self.made = made
        self.entry = ir.IRBuilder(made.append_basic_block("entry"))
        self.b = ir.IRBuilder(made.append_basic_block("body"))
        self.entry.position_before(self.entry.branch(self.b.block))
        self.variables: dict[str, tuple[Any, Any]] = {}

    def of(self, expression: ast.expr) -> Value:
        return self.find("of", expression)(expression)

    def find(self, prefix: str, node: ast.AST) -> Callable:
        found = getattr(self, f"{prefix}_{type(node).__name__}", None)
        if found is None:
            raise SyntaxError(f"{type(node).__name__} is not of the language of kernels: {ast.unparse(node)}")
        return found

    def integer(self, n: int) -> Value:
        return Value(types.int64, ir.Constant(_I64, n))

    def int_of(self, expression: ast.expr):
        """The LLVM int64 of an expression; what is true is 1."""
        return self.as_int(self.of(expression), expression)

    def as_int(self, found: Value, expression: ast.expr | None = None):
        """The LLVM int64 of a value."""
        if found.type == types.boolean:
            return self.b.zext(found.value, _I64)
        if found.type != types.int64:
            raise SyntaxError(f"{ast.unparse(expression) if expression else 'a value'} is {found.type}, not an integer")
        return found.value

    def float_of(self, found: Value):
        """The LLVM double of a number."""
        if found.type == types.float32:
            return self.b.fpext(found.value, _F64)
        return found.value if found.type == types.float64 else self.b.sitofp(self.as_int(found), _F64)

    def bit_of(self, expression: ast.expr):
        """The LLVM bit of a condition."""
        found = self.of(expression)
        if found.type == types.boolean:
            return found.value
        return self.b.icmp_signed("!=", self.as_int(found, expression), ir.Constant(_I64, 0))

    def assign(self, name: str, new: Value) -> None:
        known = self.variables.get(name)
        if known is None:
            known = self.variables[name] = new.type, self.entry.alloca(new.value.type, name=name)
        elif known[0] != new.type:
            raise SyntaxError(f"{name} is {known[0]}, and then {new.type}")
        self.b.store(new.value, known[1])

    def of_Constant(self, node: ast.Constant) -> Value:
        if type(node.value) is bool:
            return Value(types.boolean, ir.Constant(_BIT, int(node.value)))
        return self.number(node.value, repr(node.value))

    def number(self, value, name: str) -> Value:
        if type(value) is float:
            return Value(types.float64, ir.Constant(_F64, value))
        if type(value) is not int:
            raise SyntaxError(f"{name} is neither a variable nor a number")
        return self.integer(value)

    def of_Name(self, node: ast.Name) -> Value:
        if node.id in self.variables:
            of, place = self.variables[node.id]
            return Value(of, self.b.load(place))
        return self.number(self.scope.get(node.id), node.id)

    def of_BinOp(self, node: ast.BinOp) -> Value:
        first, second, b = self.of(node.left), self.of(node.right), self.b
        if _FLOATS & {first.type, second.type}:
            if type(node.op) not in _FLOAT_OPERATIONS:
                raise SyntaxError(f"{ast.unparse(node)}: not an operation of kernels")
            operation = getattr(b, _FLOAT_OPERATIONS[type(node.op)])
            return Value(types.float64, operation(self.float_of(first), self.float_of(second)))
        left, right = self.as_int(first, node.left), self.as_int(second, node.right)
        match node.op:
            case ast.Add():
                return Value(types.int64, b.add(left, right))
            case ast.Sub():
                return Value(types.int64, b.sub(left, right))
            case ast.Mult():
                return Value(types.int64, b.mul(left, right))
            case ast.FloorDiv():
                return Value(types.int64, self.floor_division(left, right)[0])
            case ast.Mod():
                return Value(types.int64, self.floor_division(left, right)[1])
        raise SyntaxError(f"{ast.unparse(node)}: not an operation of kernels")

    def floor_division(self, left, right):
        """Quotient, rounded down, and remainder, with the sign of the divisor, which is not 0."""
        b, zero = self.b, ir.Constant(_I64, 0)
        if isinstance(right, ir.Constant) and right.constant & (right.constant - 1) == 0 < right.constant:
            power = right.constant.bit_length() - 1
            return b.ashr(left, ir.Constant(_I64, power)), b.and_(left, ir.Constant(_I64, right.constant - 1))
        quotient, rest = b.sdiv(left, right), b.srem(left, right)
        uneven = b.icmp_signed("!=", rest, zero)
        apart = b.icmp_signed("<", b.xor(rest, right), zero)
        down = b.and_(uneven, apart)
        return b.sub(quotient, b.zext(down, _I64)), b.add(rest, b.select(down, right, zero))

    def of_UnaryOp(self, node: ast.UnaryOp) -> Value:
        match node.op:
            case ast.USub():
                found = self.of(node.operand)
                if found.type == types.float64:
                    return Value(types.float64, self.b.fneg(found.value))
                value = self.as_int(found, node.operand)
                if isinstance(value, ir.Constant):
                    return self.integer(-value.constant)
                return Value(types.int64, self.b.neg(value))
            case ast.Not():
                return Value(types.boolean, self.b.not_(self.bit_of(node.operand)))
        raise SyntaxError(f"{ast.unparse(node)}: not an operation of kernels")

    def of_Compare(self, node: ast.Compare) -> Value:
        if len(node.ops) != 1 or type(node.ops[0]) not in _SIGNS:
            raise SyntaxError(f"{ast.unparse(node)}: not a comparison of kernels")
        left, right = self.of(node.left), self.of(node.comparators[0])
        return Value(types.boolean, self.compare(_SIGNS[type(node.ops[0])], left, right))

    def compare(self, sign: str, left: Value, right: Value):
        """The LLVM bit of a comparison. What is not a number differs from everything."""
        if _FLOATS & {left.type, right.type}:
            compare = self.b.fcmp_unordered if sign == "!=" else self.b.fcmp_ordered
            return compare(sign, self.float_of(left), self.float_of(right))
        return self.b.icmp_signed(sign, self.as_int(left), self.as_int(right))

    def of_BoolOp(self, node: ast.BoolOp) -> Value:
        """``and``, ``or`` of conditions; what stands behind the one that decides is not computed."""
        found, *others = node.values
        first = self.bit_of(found)
        for other in others:
            before, behind, after = self.b.block, self.made.append_basic_block("or"), self.made.append_basic_block("so")
            self.b.cbranch(first, *((behind, after) if isinstance(node.op, ast.And) else (after, behind)))
            self.b.position_at_end(behind)
            second, end = self.bit_of(other), self.b.block
            self.b.branch(after)
            self.b.position_at_end(after)
            joined = self.b.phi(_BIT)
            joined.add_incoming(first, before)
            joined.add_incoming(second, end)
            first = joined
        return Value(types.boolean, first)

    def of_IfExp(self, node: ast.IfExp) -> Value:
        """Only the arm that is chosen is computed: the other may read what is not there."""
        with self.b.if_else(self.bit_of(node.test)) as (then, otherwise):
            with then:
                first, first_block = self.of(node.body), self.b.block
            with otherwise:
                second, second_block = self.of(node.orelse), self.b.block
        if first.type != second.type:
            raise SyntaxError(f"{ast.unparse(node)} is {first.type} or {second.type}")
        joined = self.b.phi(first.value.type)
        joined.add_incoming(first.value, first_block)
        joined.add_incoming(second.value, second_block)
        return Value(first.type, joined)

    def of_Tuple(self, node: ast.Tuple) -> Value:
        values = [self.int_of(one) for one in node.elts]
        return Value(types.UniTuple(types.int64, len(values)), cgutils.pack_array(self.b, values))

    def of_Subscript(self, node: ast.Subscript) -> Value:
        """One of several results of a function."""
        found = self.of(node.value)
        place = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if not isinstance(found.type, types.BaseTuple) or type(place) is not int:
            raise SyntaxError(f"{ast.unparse(node)}: not a result of several")
        return self.part(found, place)

    def part(self, several: Value, k: int) -> Value:
        return Value(several.type.types[k], self.b.extract_value(several.value, k))

    def of_Call(self, node: ast.Call) -> Value:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name in ("min", "max"):
            best, *others = map(self.of, node.args)
            for other in others:
                if best.type != other.type:
                    raise SyntaxError(f"{ast.unparse(node)} is {best.type} or {other.type}")
                kept = self.compare("<" if name == "min" else ">", best, other)
                best = Value(best.type, self.b.select(kept, best.value, other.value))
            return best
        function: Any = self.scope.get(name)
        if not hasattr(function, "_defn"):
            raise SyntaxError(f"{name} is no function of kernels")
        given = [self.of(argument) for argument in node.args]
        signature, codegen = function._defn(self.typingctx, *(one.type for one in given))
        values = [self.passed(*several) for several in zip(given, signature.args, node.args, strict=True)]
        return Value(signature.return_type, codegen(self.context, self.b, signature, values))

    def passed(self, given: Value, to, expression: ast.expr):
        """The LLVM value of an argument: an integer serves as a number, a number not as an integer."""
        if to == types.int64:
            return self.as_int(given, expression)
        return given.value if given.type == to else self.context.cast(self.b, given.value, given.type, to)
