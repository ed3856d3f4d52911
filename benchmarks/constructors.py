"""A reranker's options, read from its source so that nothing heavy is imported to check a name."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from rerankers.registry import ROWS


def constructor_options(name: str) -> dict[str, bool]:
    """Options that an experiment may give to a registered reranker, by name; true where it must.

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
                    pairs = zip(member.args.kwonlyargs, member.args.kw_defaults, strict=True)
                    options = {argument.arg: default is None for argument, default in pairs}
                    options.pop("qrels", None)
                    return options
    return {}  # a class without a constructor takes no options
