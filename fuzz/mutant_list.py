"""Every small change of a source that its tests ought to notice."""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Mutant", "mutants_of"]


class Mutant(NamedTuple):
    """A changed source.

    Attributes:
        key: where and what, without line numbers: it stays while other parts of the file change.
        digest: of the key, for names of files.
        source: the whole file.
    """

    key: str
    digest: str
    source: str


_COMPARE: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_NAMES = {
    "sum": "mean", "mean": "sum", "max": "min", "min": "max", "argmax": "argmin", "argmin": "argmax", "zeros": "ones",
    "ones": "zeros", "any": "all", "all": "any",
}  # fmt: skip


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a source, in its order. Annotations, docstrings, messages of errors and imports are left alone."""
    tree = ast.parse(source)
    found, seen = [], {}
    for owner, node in _code(tree, ""):
        for changed in _changes(node):
            before, after = ast.unparse(node), ast.unparse(changed)
            if before == after:
                continue
            key = f"{owner or 'module'}: {before[:90]} → {after[:90]}"
            seen[key] = seen.get(key, 0) + 1
            key += f" (#{seen[key]})" if seen[key] > 1 else ""
            digest = hashlib.sha256(key.encode()).hexdigest()[:12]
            found.append(Mutant(key, digest, ast.unparse(_replaced(tree, node, changed))))
    return found


def _code(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.AST]]:
    """What is executed, with the function that it is in."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        owner = f"{owner}.{node.name}".lstrip(".")
    skipped: list[ast.AST] = []
    if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.arg):
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "TypeVar":
        return
    if isinstance(node, ast.FunctionDef):
        skipped += [node.returns] if node.returns else []
    elif isinstance(node, ast.AnnAssign):
        skipped.append(node.annotation)
    elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return
    elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        skipped.append(node.exc)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    yield owner, node
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from _code(child, owner)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    new = copy.deepcopy(node)
    match new:
        case ast.Compare(ops=[op]) if type(op) in _COMPARE:
            new.ops = [_COMPARE[type(op)]()]
            yield new
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            new.op = _ARITHMETIC[type(op)]()
            yield new
        case ast.BoolOp(op=op):
            new.op = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield new
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield new.operand
        case ast.IfExp():
            new.body, new.orelse = new.orelse, new.body
            yield new
        case ast.If(test=test) if not isinstance(
            test, ast.Compare | ast.UnaryOp
        ):  # those are mutated themselves
            new.test = ast.UnaryOp(ast.Not(), new.test)
            yield new
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(2.0 * value + 0.5)
        case ast.Constant(value=str(value)) if value:
            yield ast.Constant(f"X{value}X")
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Call(func=ast.Attribute(attr="where"), args=[_, _, _]):
            new.args[1], new.args[2] = new.args[2], new.args[1]
            yield new
        case ast.Attribute(attr=name) if name in _NAMES:
            new.attr = _NAMES[name]
            yield new
        case _:
            pass


def _replaced(tree: ast.Module, old: ast.AST, new: ast.AST) -> ast.Module:
    path = _path(tree, old)
    assert path is not None
    whole = copy.deepcopy(tree)
    parent: ast.AST = whole
    for name, place in path[:-1]:
        value = getattr(parent, name)
        parent = value if place is None else value[place]
    name, place = path[-1]
    if place is None:
        setattr(parent, name, new)
    else:
        getattr(parent, name)[place] = new
    return ast.fix_missing_locations(whole)


def _path(node: ast.AST, wanted: ast.AST) -> list[tuple[str, int | None]] | None:
    for name, value in ast.iter_fields(node):
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if child is wanted:
                return [(name, place)]
            if isinstance(child, ast.AST) and (found := _path(child, wanted)) is not None:
                return [(name, place), *found]
    return None
