"""For `make docs`: what a class takes.

Equinox modules are dataclasses without a decorator, so griffe misses their signatures. And the signature of a class
stands beside its docstring, where "See the class." says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import griffe


def is_module(cls: griffe.Class) -> bool:
    """Whether a class is an Equinox module, by its bases as far as they are in the package."""
    bases = (base for one in (cls, *cls.mro()) for base in one.bases)
    return any(getattr(base, "canonical_path", "").startswith("equinox") for base in bases)


def parameters(cls: griffe.Class) -> Iterator[griffe.Parameter]:
    """What the generated ``__init__`` takes, bases first."""
    for one in (*reversed(cls.mro()), cls):
        keyword = False
        for field in one.attributes.values():
            told = str(field.annotation or "")
            if "KW_ONLY" in told:
                keyword = True
            if not told or "property" in field.labels or "AbstractVar" in told or field.name == "_":
                continue
            call = field.value if isinstance(field.value, griffe.ExprCall) else None
            given = {one.name: one.value for one in call.arguments if hasattr(one, "name")} if call else {}
            default = given.get("default") if call and "field" in str(call.function) else field.value
            kind = griffe.ParameterKind
            yield griffe.Parameter(
                field.name,
                annotation=field.annotation,
                kind=kind.keyword_only
                if keyword or given.get("kw_only") == "True"
                else kind.positional_or_keyword,
                default=default,
            )


class Signatures(griffe.Extension):
    """Gives every Equinox module without an ``__init__`` of its own the one that Equinox makes."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Called once the package was read."""
        waiting: list[Any] = [pkg]
        while waiting:
            one = waiting.pop()
            waiting += [
                part
                for part in one.members.values()
                if not part.is_alias and (part.is_module or part.is_class)
            ]
            if one.is_class and "__init__" not in one.members and is_module(one):
                taken = {parameter.name: parameter for parameter in parameters(one)}
                ordered = sorted(
                    taken.values(), key=lambda each: each.kind is griffe.ParameterKind.keyword_only
                )
                own = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
                made = griffe.Function("__init__", parameters=griffe.Parameters(own, *ordered), parent=one)
                one.set_member("__init__", made)
            init = one.members.get("__init__") if one.is_class else None
            if init and init.docstring and init.docstring.value == "See the class.":
                init.docstring = None
