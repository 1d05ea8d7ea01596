"""Values of a kernel's text as LLVM IR: integers, conditions, and what intrinsics return.

The type of each is known from its parts (see `rnncore.cpu.lower`). A division's divisor is not 0.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

__all__ = ["Expressions", "Value"]

_I64, _BIT = ir.IntType(64), ir.IntType(1)
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
        found = self.of(expression)
        if found.type == types.boolean:
            return self.b.zext(found.value, _I64)
        if found.type != types.int64:
            raise SyntaxError(f"{ast.unparse(expression)} is {found.type}, not an integer")
        return found.value

    def bit_of(self, expression: ast.expr):
        """The LLVM bit of a condition."""
        found = self.of(expression)
        if found.type == types.boolean:
            return found.value
        return self.b.icmp_signed("!=", self.int_of(expression), ir.Constant(_I64, 0))

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
        if type(node.value) is not int:
            raise SyntaxError(f"{node.value!r} is no integer")
        return self.integer(node.value)

    def of_Name(self, node: ast.Name) -> Value:
        if node.id in self.variables:
            of, place = self.variables[node.id]
            return Value(of, self.b.load(place))
        if type(self.scope.get(node.id)) is int:
            return self.integer(self.scope[node.id])
        raise SyntaxError(f"{node.id} is neither a variable nor an integer")

    def of_BinOp(self, node: ast.BinOp) -> Value:
        left, right, b = self.int_of(node.left), self.int_of(node.right), self.b
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
                value = self.int_of(node.operand)
                if isinstance(value, ir.Constant):
                    return self.integer(-value.constant)
                return Value(types.int64, self.b.neg(value))
            case ast.Not():
                return Value(types.boolean, self.b.not_(self.bit_of(node.operand)))
        raise SyntaxError(f"{ast.unparse(node)}: not an operation of kernels")

    def of_Compare(self, node: ast.Compare) -> Value:
        if len(node.ops) != 1 or type(node.ops[0]) not in _SIGNS:
            raise SyntaxError(f"{ast.unparse(node)}: not a comparison of kernels")
        left, right = self.int_of(node.left), self.int_of(node.comparators[0])
        return Value(types.boolean, self.b.icmp_signed(_SIGNS[type(node.ops[0])], left, right))

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

    def of_Call(self, node: ast.Call) -> Value:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name in ("min", "max"):
            best = self.int_of(node.args[0])
            for other in map(self.int_of, node.args[1:]):
                best = self.b.select(self.b.icmp_signed("<" if name == "min" else ">", best, other), best, other)
            return Value(types.int64, best)
        function: Any = self.scope.get(name)
        if not hasattr(function, "_defn"):
            raise SyntaxError(f"{name} is no function of kernels")
        given = [self.of(argument) for argument in node.args]
        signature, codegen = function._defn(self.typingctx, *(one.type for one in given))
        values = [
            self.context.cast(self.b, one.value, one.type, to) if one.type != to else one.value
            for one, to in zip(given, signature.args, strict=True)
        ]
        return Value(signature.return_type, codegen(self.context, self.b, signature, values))
