"""Completion scripts of shells, which shtab writes from the argument parser: they name only what exists.

A script is static: pressing Tab starts no Python.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerankers.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script that completes a parser's commands, options and values in bash, zsh or fish.

    Args:
        parser: the program's; afterwards it can parse nothing any more.
        shell: one of `SHELLS`.
    """
    import shtab

    for path, action in _arguments(parser):
        if action.choices is None and action.nargs != 0:
            values = _values(path, action)
            action.choices = [*values, *shtab.Optional.FILE] if values else shtab.Optional.FILE
    return shtab.complete(parser, shell)


def _arguments(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (words that call its command, argument) for each argument of a program and of its commands."""
    for action in parser._actions:
        yield path, action
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from _arguments(command, (*path, name))


def _values(path: tuple[str, ...], action: argparse.Action) -> tuple[str, ...]:
    """Return what may be named besides files: rerankers or ready experiments; empty for other arguments."""
    if action.dest in ("reranker", "rerankers"):
        return tuple(METHODS)
    if action.dest == "config":
        folder = Path(__file__).parents[1] / "configs"
        folder = folder / "training" if path[0] == "train" else folder
        return tuple(sorted(file.stem for file in folder.glob("*.yaml")))
    return ()
