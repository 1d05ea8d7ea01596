"""From the text of a kernel straight to LLVM IR, in one pass over its statements.

A kernel is a function of addresses and counts: integers, vectors of lanes, loops, calls of intrinsics. The type of
every value is known when it is first written, so nothing needs to be inferred: numba is handed one intrinsic that is
the whole function, and only optimises, keeps and loads it. The text stays Python that numba itself could compile.

What a text may hold: assignments, ``for`` over ``range``, ``while``, ``if``, ``return``; integers and their
arithmetic and comparison, ``min``, ``max``; intrinsics of `rnncore.cpu`, and other lowered functions.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["addresses", "lowered"]

_I64, _BIT = ir.IntType(64), ir.IntType(1)
_SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


def lowered(function: FunctionType):
    """An intrinsic that calls `function`, a Python function of int64 arguments that returns nothing.

    The function is compiled once in each module that calls it, and not inlined into its callers.

    Raises
    ------
    SyntaxError
        When it is compiled, if its text holds what is not of the language of kernels.
    """
    arity = function.__code__.co_argcount

    def call(typingctx, *arguments):
        def codegen(context, builder, signature, args):
            builder.call(_defined(function, context, typingctx, builder.module), args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * arity), codegen

    made = intrinsic(_with_arity(call, arity))
    made.function = function
    return made


def addresses(*functions):
    """An intrinsic that writes the addresses of lowered functions, one int64 after another, at an address."""

    @intrinsic
    def write(typingctx, to):
        def codegen(context, builder, signature, args):
            for k, one in enumerate(functions):
                found = _defined(one.function, context, typingctx, builder.module)
                at = builder.add(args[0], ir.Constant(_I64, 8 * k))
                builder.store(builder.ptrtoint(found, _I64), builder.inttoptr(at, _I64.as_pointer()))
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    return write


def _with_arity(call: Callable, arity: int) -> Callable:
    """numba reads how many arguments an intrinsic takes from its signature."""
    names = ", ".join(f"a{k}" for k in range(arity))
    scope: dict[str, Any] = {"call": call}
    exec(f"def lowered_function(typingctx, {names}): return call(typingctx, {names})", scope)
    return scope["lowered_function"]


def _defined(function: FunctionType, context, typingctx, module) -> ir.Function:
    """The function in an LLVM module, written there when it is first asked for."""
    name = f"rnncore.{function.__qualname__}"
    if name in module.globals:
        return module.globals[name]
    arity = function.__code__.co_argcount
    made = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * arity), name)
    made.linkage = "internal"
    for attribute in ("noinline", "nounwind"):
        made.attributes.add(attribute)
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    _Function(made, function.__globals__, context, typingctx).write(tree)
    return made


class _Value:
    """A numba type, and the LLVM value of it."""

    __slots__ = ("type", "value")

    def __init__(self, of, value):
        self.type, self.value = of, value


class _Function:
    """One function while it is written. Variables are places on the stack, which LLVM turns into registers."""

    def __init__(self, made: ir.Function, scope: dict[str, Any], context, typingctx):
        self.scope, self.context, self.typingctx = scope, context, typingctx
        self.made = made
        self.entry = ir.IRBuilder(made.append_basic_block("entry"))
        self.b = ir.IRBuilder(made.append_basic_block("body"))
        self.variables: dict[str, tuple[Any, Any]] = {}

    def write(self, tree: ast.FunctionDef) -> None:
        for argument, value in zip(tree.args.args, self.made.args):
            self.assign(argument.arg, _Value(types.int64, value))
        first = self.b.block
        self.body(tree.body)
        if not self.b.block.is_terminated:
            self.b.ret_void()
        self.entry.branch(first)

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self.b.block.is_terminated:
                return
            self._find("do", statement)(statement)

    def of(self, expression: ast.expr) -> _Value:
        return self._find("of", expression)(expression)

    def _find(self, prefix: str, node: ast.AST) -> Callable:
        found = getattr(self, f"{prefix}_{type(node).__name__}", None)
        if found is None:
            raise SyntaxError(f"{type(node).__name__} is not of the language of kernels: {ast.unparse(node)}")
        return found

    # values
    def integer(self, n: int) -> _Value:
        return _Value(types.int64, ir.Constant(_I64, n))

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

    def assign(self, name: str, new: _Value) -> None:
        known = self.variables.get(name)
        if known is None:
            known = self.variables[name] = new.type, self.entry.alloca(new.value.type, name=name)
        elif known[0] != new.type:
            raise SyntaxError(f"{name} is {known[0]}, and then {new.type}")
        self.b.store(new.value, known[1])

    def of_Constant(self, node: ast.Constant) -> _Value:
        if type(node.value) is bool:
            return _Value(types.boolean, ir.Constant(_BIT, int(node.value)))
        if type(node.value) is not int:
            raise SyntaxError(f"{node.value!r} is no integer")
        return self.integer(node.value)

    def of_Name(self, node: ast.Name) -> _Value:
        if node.id in self.variables:
            of, place = self.variables[node.id]
            return _Value(of, self.b.load(place))
        if type(self.scope.get(node.id)) is int:
            return self.integer(self.scope[node.id])
        raise SyntaxError(f"{node.id} is neither a variable nor an integer")

    def of_BinOp(self, node: ast.BinOp) -> _Value:
        left, right, b = self.int_of(node.left), self.int_of(node.right), self.b
        match node.op:
            case ast.Add():
                return _Value(types.int64, b.add(left, right))
            case ast.Sub():
                return _Value(types.int64, b.sub(left, right))
            case ast.Mult():
                return _Value(types.int64, b.mul(left, right))
            case ast.FloorDiv():
                return _Value(types.int64, self.floor_division(left, right)[0])
            case ast.Mod():
                return _Value(types.int64, self.floor_division(left, right)[1])
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

    def of_UnaryOp(self, node: ast.UnaryOp) -> _Value:
        match node.op:
            case ast.USub():
                value = self.int_of(node.operand)
                if isinstance(value, ir.Constant):
                    return self.integer(-value.constant)
                return _Value(types.int64, self.b.neg(value))
            case ast.Not():
                return _Value(types.boolean, self.b.not_(self.bit_of(node.operand)))
        raise SyntaxError(f"{ast.unparse(node)}: not an operation of kernels")

    def of_Compare(self, node: ast.Compare) -> _Value:
        if len(node.ops) != 1 or type(node.ops[0]) not in _SIGNS:
            raise SyntaxError(f"{ast.unparse(node)}: not a comparison of kernels")
        left, right = self.int_of(node.left), self.int_of(node.comparators[0])
        return _Value(types.boolean, self.b.icmp_signed(_SIGNS[type(node.ops[0])], left, right))

    def of_IfExp(self, node: ast.IfExp) -> _Value:
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
        return _Value(first.type, joined)

    def of_Tuple(self, node: ast.Tuple) -> _Value:
        values = [self.int_of(one) for one in node.elts]
        return _Value(types.UniTuple(types.int64, len(values)), cgutils.pack_array(self.b, values))

    def of_Call(self, node: ast.Call) -> _Value:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name in ("min", "max"):
            best = self.int_of(node.args[0])
            for other in map(self.int_of, node.args[1:]):
                best = self.b.select(self.b.icmp_signed("<" if name == "min" else ">", best, other), best, other)
            return _Value(types.int64, best)
        function = self.scope.get(name)
        if not hasattr(function, "_defn"):
            raise SyntaxError(f"{name} is no function of kernels")
        given = [self.of(argument) for argument in node.args]
        signature, codegen = function._defn(self.typingctx, *(one.type for one in given))
        values = [
            self.context.cast(self.b, one.value, one.type, to) if one.type != to else one.value
            for one, to in zip(given, signature.args, strict=True)
        ]
        return _Value(signature.return_type, codegen(self.context, self.b, signature, values))

    # statements
    def do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.of(node.value)

    def do_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            raise SyntaxError("a kernel returns nothing")
        self.b.ret_void()

    def do_Assign(self, node: ast.Assign) -> None:
        (target,) = node.targets
        if isinstance(target, ast.Name):
            self.assign(target.id, self.of(node.value))
            return
        assert isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        for one, new in zip(target.elts, [self.of(value) for value in node.value.elts], strict=True):
            assert isinstance(one, ast.Name)
            self.assign(one.id, new)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        assert isinstance(node.target, ast.Name)
        before = ast.Name(node.target.id, ast.Load())
        self.assign(node.target.id, self.of_BinOp(ast.BinOp(before, node.op, node.value)))

    def do_If(self, node: ast.If) -> None:
        then, after = (self.made.append_basic_block(name) for name in ("then", "after"))
        otherwise = self.made.append_basic_block("else") if node.orelse else after
        self.b.cbranch(self.bit_of(node.test), then, otherwise)
        for block, statements in ((then, node.body), (otherwise, node.orelse)):
            if statements:
                self.b.position_at_end(block)
                self.body(statements)
                if not self.b.block.is_terminated:
                    self.b.branch(after)
        self.b.position_at_end(after)

    def do_While(self, node: ast.While) -> None:
        head, body, after = (self.made.append_basic_block(name) for name in ("while", "do", "done"))
        self.b.branch(head)
        self.b.position_at_end(head)
        self.b.cbranch(self.bit_of(node.test), body, after)
        self.b.position_at_end(body)
        self.body(node.body)
        if not self.b.block.is_terminated:
            self.b.branch(head)
        self.b.position_at_end(after)

    def do_For(self, node: ast.For) -> None:
        """``for name in range(...)``; a step that is no constant is positive."""
        call, b = node.iter, self.b
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise SyntaxError(f"for ... in {ast.unparse(call)}: kernels count with range")
        assert isinstance(node.target, ast.Name)
        given = [self.int_of(argument) for argument in call.args]
        start, end = (ir.Constant(_I64, 0), given[0]) if len(given) == 1 else given[:2]
        step = given[2] if len(given) == 3 else ir.Constant(_I64, 1)
        sign = ">" if isinstance(step, ir.Constant) and step.constant < 0 else "<"
        before = b.block
        head, body, after = (self.made.append_basic_block(name) for name in ("for", "do", "done"))
        b.branch(head)
        b.position_at_end(head)
        at = b.phi(_I64)
        at.add_incoming(start, before)
        b.cbranch(b.icmp_signed(sign, at, end), body, after)
        b.position_at_end(body)
        self.assign(node.target.id, _Value(types.int64, at))
        self.body(node.body)
        if not b.block.is_terminated:
            at.add_incoming(b.add(at, step, flags=("nsw",)), b.block)
            b.branch(head)
        b.position_at_end(after)
