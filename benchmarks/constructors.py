"""A reranker's options, read from its source so that nothing heavy is imported to check a name."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from rerankers.llm.options import ChatOptions
from rerankers.registry import ROWS


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
    """Options that an experiment may give to a registered reranker, by name.

    `qrels` is left out: the harness gives it to the rerankers that need it.
    """
    module, _, class_name = ROWS[name].target.partition(":")
    specification = importlib.util.find_spec(module)
    if specification is None or specification.origin is None:
        raise ModuleNotFoundError(f"no module {module}", name=module)
    tree = ast.parse(Path(specification.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                    return _options(member.args)
    return {}  # a class without a constructor takes no options


def _options(arguments: ast.arguments) -> dict[str, Option]:
    found = {}
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        written = ast.unparse(argument.annotation) if argument.annotation else ""
        if written == ChatOptions.__name__:  # written beside a method's own options
            for name, field in ChatOptions.model_fields.items():
                found[name] = Option(is_needed=field.is_required(), is_list=False)
            continue
        is_list = written.removeprefix("Annotated[").startswith(("list[", "tuple[", "Sequence["))
        found[argument.arg] = Option(is_needed=default is None, is_list=is_list)
    found.pop("qrels", None)
    return found
