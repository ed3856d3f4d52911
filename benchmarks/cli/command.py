"""The form of a command, and the argument parser made of all commands."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """A command of `rerankbench`: a module in `benchmarks/cli/commands` defines one.

    Attributes:
        name: the word that calls it.
        summary: what it does, in the imperative, for the list of commands.
        examples: arguments as a user would type them, shown by `--help`.
        run: does it, and returns the exit status: 0 done, 1 some cells failed, 2 bad input. Imports what is
            heavy itself. None for a command that only has commands of its own, and shows its help.
        add_arguments: adds its arguments to its parser.
        kept: what an interrupted command leaves behind, which the same command goes on from.
        answer: the lines that `run` prints about a result folder once it is done.
        note: shown by `--help` after the examples.
        commands: the commands that may follow it.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    run: Callable[[argparse.Namespace], int] | None = None
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    kept: str | None = None
    answer: Callable[[Path], Iterable[str]] | None = None
    note: str = ""
    commands: tuple[Command, ...] = ()


class Parser(argparse.ArgumentParser):
    """A parser that offers near misses for a misspelt command or choice."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(action, str(UnknownNameError("name", str(value), choices)))


class Suggested(tuple[str, ...]):
    """Choices of an option that completion offers, and that do not keep other values out."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        """Let the command itself judge the value, whose error says more."""
        return True


def common_options() -> argparse.ArgumentParser:
    """Return the parent of all parsers: the options that stand before or after any command."""
    common = Parser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks and library messages"
    )
    return common


def add_commands(parsers: Any, common: argparse.ArgumentParser, commands: Iterable[Command]) -> None:
    """Add each command's parser to the subparsers of a parser."""
    for command in commands:
        parser: argparse.ArgumentParser = parsers.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        )
        lines = "\n".join(f"  {parser.prog} {example}".rstrip() for example in command.examples)
        parser.epilog = f"examples:\n{lines}\n\n{command.note}".rstrip()
        parser.set_defaults(command=command.run or partial(_show_help, parser), kept=command.kept)
        command.add_arguments(parser)
        if command.commands:
            add_commands(parser.add_subparsers(metavar="WHAT", title="what to do"), common, command.commands)


def _show_help(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    parser.print_help()
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--option KEY=VALUE ...`, the options of a reranker."""
    parser.add_argument(
        "--option",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="options of the reranker",
    )


def option_values(pairs: Sequence[str]) -> dict[str, object]:
    """Read `key=value` pairs; a value is read as YAML, so that 20 is a number and true a boolean.

    Raises:
        InputError: a pair has no `=`, or its value is not YAML.
    """
    from benchmarks.experiments.files.marked_yaml import read_value

    values: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--option {pair}: write it as key=value")
        values[key] = read_value(f"--option {pair}", text)
    return values
