"""From the text of a kernel straight to LLVM IR, in one pass over its statements.

A kernel is a function of addresses and counts: integers, vectors of lanes, loops, calls of intrinsics. The type of
every value is known when it is first written, so nothing needs to be inferred: numba is handed one intrinsic that is
the whole function, and only optimises, keeps and loads it. The text stays Python that numba itself could compile.

What a text may hold: assignments, ``for`` over ``range``, ``while``, ``if``, ``return``; integers and float64
numbers, their arithmetic and comparison, ``and``, ``or``, ``not``, ``min``, ``max``; intrinsics of `rnncore.cpu`, and
other lowered functions.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .expressions import Expressions, Value

__all__ = ["addresses", "lowered"]

_I64 = ir.IntType(64)


def lowered(function: FunctionType):
    """An intrinsic that calls `function`, a Python function of numbers that returns a number, several, or nothing: 0.

    Arguments and results are int64, or float64 where they are annotated with ``float``; several results are annotated
    with a tuple. The function is compiled once in each module that calls it, and not inlined into its callers.

    Raises
    ------
    SyntaxError
        When it is compiled, if its text holds what is not of the language of kernels.
    """
    names = function.__code__.co_varnames[: function.__code__.co_argcount]

    def call(typingctx, *arguments):
        def codegen(context, builder, signature, args):
            return builder.call(_defined(function, context, typingctx, builder.module), args)

        return _signature(function), codegen

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("typingctx", *names)]
    vars(call)["__signature__"] = inspect.Signature(parameters)  # numba reads from it how many arguments there are
    made: Any = intrinsic(call)
    made.function = function
    return made


def _signature(function: FunctionType):
    """The numba signature of a lowered function."""
    kinds, given = {int: types.int64, float: types.float64}, function.__annotations__
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    result = given.get("return", int)
    several = isinstance(result, tuple)
    of = types.Tuple([kinds[one] for one in result]) if several else kinds[result]
    return of(*(kinds[given.get(name, int)] for name in names))


def _llvm(of):
    """The LLVM type of a number, or of several."""
    if isinstance(of, types.BaseTuple):
        return ir.LiteralStructType([_llvm(one) for one in of.types])
    return ir.DoubleType() if of == types.float64 else _I64


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


def _defined(function: FunctionType, context, typingctx, module) -> ir.Function:
    """The function in an LLVM module, written there when it is first asked for."""
    name = f"rnncore.{function.__qualname__}"
    if name in module.globals:
        return module.globals[name]
    signature = _signature(function)
    kind = ir.FunctionType(_llvm(signature.return_type), [_llvm(of) for of in signature.args])
    made = ir.Function(module, kind, name)
    made.linkage = "internal"
    for attribute in ("noinline", "nounwind"):
        made.attributes.add(attribute)
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    _Function(made, function.__globals__, context, typingctx).write(tree, signature)
    return made


class _Function(Expressions):
    """The statements of one function while it is written."""

    def write(self, tree: ast.FunctionDef, signature) -> None:
        self.result: Any = signature.return_type
        for argument, of, value in zip(tree.args.args, signature.args, self.made.args, strict=True):
            self.assign(argument.arg, Value(of, value))
        self.body(tree.body)
        if not self.b.block.is_terminated:
            self.b.ret(ir.Constant(_llvm(self.result), None))

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self.b.block.is_terminated:
                return
            self.find("do", statement)(statement)

    def do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.of(node.value)

    def do_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self.b.ret(ir.Constant(_llvm(self.result), None))
        elif isinstance(self.result, types.BaseTuple):
            assert isinstance(node.value, ast.Tuple)
            made = ir.Constant(_llvm(self.result), ir.Undefined)
            kinds: Any = self.result
            for k, (one, of) in enumerate(zip(node.value.elts, kinds.types, strict=True)):
                made = self.b.insert_value(made, self.returned(one, of), k)
            self.b.ret(made)
        else:
            self.b.ret(self.returned(node.value, self.result))

    def returned(self, expression: ast.expr, of):
        return self.int_of(expression) if of == types.int64 else self.float_of(self.of(expression))

    def do_Assign(self, node: ast.Assign) -> None:
        (target,) = node.targets
        if isinstance(target, ast.Name):
            self.assign(target.id, self.of(node.value))
            return
        assert isinstance(target, ast.Tuple)
        if isinstance(node.value, ast.Tuple):
            values = [self.of(value) for value in node.value.elts]
        else:
            several = self.of(node.value)
            values = [self.part(several, k) for k in range(len(several.type.types))]
        for one, new in zip(target.elts, values, strict=True):
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
        self.assign(node.target.id, Value(types.int64, at))
        self.body(node.body)
        if not b.block.is_terminated:
            at.add_incoming(b.add(at, step, flags=("nsw",)), b.block)
            b.branch(head)
        b.position_at_end(after)
