"""A reranker's options, read from its source so that nothing heavy is imported to check a name."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from rerankers.errors import InputError
from rerankers.option_groups import option_group
from rerankers.registry import find_row, no_module


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a reranker's constructor.

    Attributes:
        is_needed: whether it has no default.
        is_list: whether its value is a list, which is then no sweep.
    """

    is_needed: bool
    is_list: bool


def constructor_options(name: str) -> dict[str, Option]:
    """Options that an experiment may give to a reranker, by name.

    `qrels` is left out: the harness gives it to the rerankers that need it.

    Raises:
        UnknownNameError: nobody registered the reranker.
        InputError: the module of a reranker of your own is not there or is not valid Python.
    """
    class_name = find_row(name).target.partition(":")[2]
    path = source_of(name)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise InputError.at(path, error.lineno, f"is not valid Python ({error.msg}); correct it") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                    return _options(member.args)
    return {}  # a class without a constructor takes no options


def source_of(name: str) -> Path:
    """The file that a reranker is written in.

    Raises:
        UnknownNameError: nobody registered the reranker.
        InputError: there is no such file.
    """
    module = find_row(name).target.partition(":")[0]
    try:
        specification = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a package above it is not there
        specification = None
    if specification is None or specification.origin is None:
        raise no_module(module)
    return Path(specification.origin)


def _options(arguments: ast.arguments) -> dict[str, Option]:
    found = {}
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        written = ast.unparse(argument.annotation) if argument.annotation else ""
        if group := option_group(written):  # declared once, written beside a method's own options
            for name, field in group.model_fields.items():
                found[name] = Option(is_needed=field.is_required(), is_list=False)
            continue
        is_list = written.removeprefix("Annotated[").startswith(("list[", "tuple[", "Sequence["))
        found[argument.arg] = Option(is_needed=default is None, is_list=is_list)
    found.pop("qrels", None)
    return found
