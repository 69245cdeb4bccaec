"""Changes of one place of a source file, each as somebody might make by mistake."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgspec


class Mutant(msgspec.Struct, frozen=True):
    """file: from the project's folder. about: what is changed there. node, nth: where, in `ast.walk`.

    line, upto: the lines of the statement that is changed, without a body that it has.
    """

    file: str
    line: int
    upto: int
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

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class _Place(NamedTuple):
    """The lines of a node's statement, and the function that it stands in."""

    line: int = 0
    upto: int = 0
    function: _Function | None = None


class _Change(NamedTuple):
    """place: where it is another statement than the node's own."""

    about: str
    make: Callable[[Any], None]
    place: _Place | None = None


def mutants(file: str, source: str) -> list[Mutant]:
    """Every change of this file that is made, in the order of its lines."""
    found = []
    for number, (node, place) in enumerate(_placed(ast.parse(source))):
        for nth, change in enumerate(_changes(node, place)):
            line, upto, _ = change.place or place
            found.append(Mutant(file, line, upto, change.about, number, nth))
    return sorted(found, key=lambda mutant: mutant.line)


def changed(source: str, mutant: Mutant) -> str:
    """The whole file with this change."""
    tree = ast.parse(source)
    node, place = next(islice(_placed(tree), mutant.node, None))
    list(_changes(node, place))[mutant.nth].make(node)
    return ast.unparse(ast.fix_missing_locations(tree))


def _placed(tree: ast.AST) -> Iterator[tuple[ast.AST, _Place]]:
    """The nodes in the order of `ast.walk`, which has parents before their children."""
    places = {tree: _Place()}
    for node in ast.walk(tree):
        place = places[node]
        if isinstance(node, ast.stmt):
            place = _lines(node)._replace(function=place.function)
        yield node, place
        inner = place._replace(function=node) if isinstance(node, _Function) else place
        for child in ast.iter_child_nodes(node):
            places[child] = inner


def _lines(statement: ast.stmt) -> _Place:
    body = getattr(statement, "body", None)
    upto = max(statement.lineno, body[0].lineno - 1) if body else statement.end_lineno
    return _Place(statement.lineno, upto or statement.lineno)


def _changes(node: ast.AST, place: _Place) -> Iterator[_Change]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _SWAPS:
            swap = _SWAPS[type(operator)]
            yield _Change(f"{_short(node)}: {type(operator).__name__} -> {swap.__name__}", _swap)
        case ast.If() | ast.IfExp():
            yield _Change(f"{_short(node.test)}: never", _Constant(False))
            yield _Change(f"{_short(node.test)}: always", _Constant(True))
        case ast.While():  # one that always goes on never ends
            yield _Change(f"{_short(node.test)}: never", _Constant(False))
        case ast.comprehension():
            for at, test in enumerate(node.ifs):
                yield _Change(f"if {_short(test)}: left out", _Without("ifs", at))
        case ast.BoolOp():
            yield _Change(f"{_short(node)}: and <-> or", _and_or)
            for at, value in enumerate(node.values):
                yield _Change(f"{_short(node)}: without {_short(value)}", _Without("values", at))
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            yield _Change(f"{_short(node)}: + <-> -", _plus_minus)
        case ast.AugAssign(op=ast.Add() | ast.Sub()):
            yield _Change(f"{_short(node)}: += <-> -=", _plus_minus)
        case ast.Return(value=ast.expr() as value) if _may_be_none(value, place.function):
            yield _Change(f"{_short(node)}: None", _nothing)
        case _:
            pass
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(node, field, None)
        for at, statement in enumerate(statements if isinstance(statements, list) else ()):
            function = node if isinstance(node, _Function) else place.function
            if _can_go(statement, function):
                about = f"{_short(statement)}: left out"
                yield _Change(about, _Passed(field, at), _lines(statement))


def _can_go(statement: ast.stmt, function: _Function | None) -> bool:
    """Whether what comes after this statement may run without it."""
    match statement:
        case ast.Expr(value=ast.Await() | ast.Call() | ast.Yield() | ast.YieldFrom()):
            return True
        case ast.AugAssign() | ast.Continue() | ast.Break() | ast.Delete() | ast.Raise():
            return True
        case ast.With(items=[ast.withitem(optional_vars=None)]):
            return True
        case ast.AsyncWith(items=[ast.withitem(optional_vars=None)]):
            return True
        case ast.Assign(targets=[target]) if function is not None:
            return all(_is_defined(each, statement, function) for each in _parts(target))
        case _:
            return False


def _parts(target: ast.expr) -> list[ast.expr]:
    return target.elts if isinstance(target, ast.Tuple) else [target]


def _is_defined(target: ast.expr, assignment: ast.stmt, function: _Function) -> bool:
    """Whether the target of an assignment stands for something before, as far as one can see.

    Attributes do, once `__init__` has set them. A name does where the function has it from elsewhere, too.
    """
    if not isinstance(target, ast.Name):
        return function.name not in ("__init__", "__post_init__")
    arguments = function.args
    if target.id in {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}:
        return True
    return any(
        isinstance(node, ast.Global | ast.Nonlocal)
        or (
            isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.lineno < assignment.lineno
        )
        for node in ast.walk(function)
        if target.id in (getattr(node, "names", ()) or (getattr(node, "id", ""),))
    )


def _may_be_none(value: ast.expr, function: _Function | None) -> bool:
    """Whether a function's type lets it return None, or what counts as no, in this value's place."""
    if function is None or function.returns is None:
        return False
    if isinstance(value, ast.Constant) and not value.value:
        return False
    return any(word in ast.unparse(function.returns) for word in ("None", "bool"))


def _swap(node: ast.Compare) -> None:
    node.ops = [_SWAPS[type(node.ops[0])]()]


def _and_or(node: ast.BoolOp) -> None:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def _plus_minus(node: ast.BinOp | ast.AugAssign) -> None:
    node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()


def _nothing(node: ast.Return) -> None:
    node.value = ast.Constant(None)


class _Constant:
    """Has a condition always be the same."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def __call__(self, node: ast.If | ast.IfExp | ast.While) -> None:
        node.test = ast.Constant(self._value)


class _Without:
    """Leaves one part of a condition out."""

    def __init__(self, field: str, at: int) -> None:
        self._field = field
        self._at = at

    def __call__(self, node: ast.AST) -> None:
        del getattr(node, self._field)[self._at]


class _Passed:
    """Leaves one statement out; of a `with`, what it stands around stays."""

    def __init__(self, field: str, at: int) -> None:
        self._field = field
        self._at = at

    def __call__(self, node: ast.AST) -> None:
        statements = getattr(node, self._field)
        left = getattr(statements[self._at], "body", None)
        statements[self._at] = ast.If(ast.Constant(True), left, []) if left else ast.Pass()


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
