"""Changes of one place of a source file, each as somebody might make by mistake."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec


class Mutant(msgspec.Struct, frozen=True):
    """file: from the project's folder. about: what is changed there. node, nth: where, in `ast.walk`."""

    file: str
    line: int
    about: str
    node: int
    nth: int

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line}: {self.about}"


_SWAPS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Every change of this file that is made."""
    for number, node in enumerate(ast.walk(ast.parse(source))):
        for nth, (about, _) in enumerate(_changes(node)):
            yield Mutant(file, getattr(node, "lineno", 0), about, number, nth)


def changed(source: str, mutant: Mutant) -> str:
    """The whole file with this change."""
    tree = ast.parse(source)
    node = next(islice(ast.walk(tree), mutant.node, None))
    _, change = list(_changes(node))[mutant.nth]
    change(node)
    return ast.unparse(ast.fix_missing_locations(tree))


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _SWAPS:
            swap = _SWAPS[type(operator)]
            yield f"{_short(node)}: {type(operator).__name__} -> {swap.__name__}", _swap
        case ast.If() | ast.While():
            yield f"{_short(node.test)}: never", _never
        case ast.BoolOp():
            yield f"{_short(node)}: and <-> or", _and_or
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            yield f"{_short(node)}: + <-> -", _plus_minus
        case _:
            pass
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(node, field, None)
        for at, statement in enumerate(statements if isinstance(statements, list) else ()):
            match statement:
                case (
                    ast.Expr(value=ast.Await() | ast.Call()) | ast.AugAssign() | ast.Continue() | ast.Break()
                ):
                    yield f"{_short(statement)}: left out", _Without(field, at)
                case _:
                    pass


def _swap(node: ast.Compare) -> None:
    node.ops = [_SWAPS[type(node.ops[0])]()]


def _never(node: ast.If | ast.While) -> None:
    node.test = ast.Constant(False)


def _and_or(node: ast.BoolOp) -> None:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def _plus_minus(node: ast.BinOp) -> None:
    node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()


class _Without:
    """Leaves one statement out."""

    def __init__(self, field: str, at: int) -> None:
        self._field = field
        self._at = at

    def __call__(self, node: ast.AST) -> None:
        getattr(node, self._field)[self._at] = ast.Pass()


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
