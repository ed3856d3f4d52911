"""The definition of a command (`Command`), and functions that build the argument parser from all commands."""

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
    """A command of `rerankbench`, defined by a module in `benchmarks/cli/commands`.

    Attributes:
        name: the word that calls it.
        summary: description in the imperative, for the list of commands.
        examples: arguments as a user would type them, printed by `--help`.
        run: function that takes the parsed arguments and returns the exit status: 0 done, 1 some cells
            failed, 2 bad input. It imports heavy modules itself. None for a command that only has subcommands
            and prints its help.
        add_arguments: function that adds the command's arguments to its parser.
        kept: clause about the work that an interruption does not lose; None if the command cannot resume.
        answer: function that yields the lines that `run` prints about a finished result folder.
        note: text printed by `--help` after the examples.
        commands: its subcommands.
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
    """An argument parser that suggests near misses for a misspelt command or choice."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raise ArgumentError with near misses if a value is not among an argument's choices."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(action, str(UnknownNameError("name", str(value), choices)))


class Suggested(tuple[str, ...]):
    """Values of an option that shell completion offers; the parser accepts any other value too."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        """Return True, so that the parser leaves the check to the command, whose error says more."""
        return True


def common_options() -> argparse.ArgumentParser:
    """Return a parent parser with the options that stand before or after any command, such as `--debug`."""
    common = Parser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks and library messages"
    )
    return common


def add_commands(parsers: Any, common: argparse.ArgumentParser, commands: Iterable[Command]) -> None:
    """Add a parser for each command, and for its subcommands, to `parsers`, argparse's subparsers."""
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
    """Print a parser's help and return exit status 0."""
    parser.print_help()
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the argument `--option KEY=VALUE ...`, options of a reranker, to a parser."""
    parser.add_argument(
        "--option",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="options of the reranker",
    )


def option_values(pairs: Sequence[str]) -> dict[str, object]:
    """Parse `key=value` pairs into values by key; values are YAML, so that 20 is a number and true a boolean.

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
