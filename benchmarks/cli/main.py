"""The entry point of the command line: runs a command, and prints any error as one line."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from typing import TYPE_CHECKING

from benchmarks.cli.command import Parser, add_commands, common_options
from benchmarks.cli.commands.compare import COMPARE
from benchmarks.cli.commands.completion import completion_of
from benchmarks.cli.commands.convert import CONVERT
from benchmarks.cli.commands.distill import DISTILL
from benchmarks.cli.commands.doctor import DOCTOR
from benchmarks.cli.commands.export import EXPORT
from benchmarks.cli.commands.import_run import IMPORT_RUN
from benchmarks.cli.commands.init import INIT
from benchmarks.cli.commands.judge import JUDGE
from benchmarks.cli.commands.list_names import LIST
from benchmarks.cli.commands.merge import MERGE
from benchmarks.cli.commands.rerank import RERANK
from benchmarks.cli.commands.run import RUN
from benchmarks.cli.commands.schema import SCHEMA
from benchmarks.cli.commands.selftest import SELFTEST
from benchmarks.cli.commands.training.train import TRAIN
from benchmarks.cli.redaction import as_line, show_debugging
from rerankers.errors import RerankbenchError
from rerankers.progress import Activity, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cli.command import Command

FIRST = (INIT, CONVERT, RUN)
LATER = (COMPARE, RERANK, JUDGE, IMPORT_RUN, EXPORT, MERGE, LIST, SCHEMA, DOCTOR, TRAIN, DISTILL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; return its exit status.

    0 is done, 1 some cells failed, 2 bad input. By default the arguments are those of the process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    parser = build_parser(_extensions(words))
    options = parser.parse_args(words)
    options.again = shlex.join(["rerankbench", *words])
    if options.command is None:
        parser.print_help()
        return 0
    is_debug: bool = getattr(options, "debug", False)
    if is_debug:
        show_debugging()
    else:
        _quieten()
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        with shown(), Activity(f"rerankbench {_name(words)}: at work"):
            status = command(options)
        sys.stdout.flush()  # here, where a full disk can still be told
        return status
    except RerankbenchError as error:
        if is_debug:
            raise
        print(f"rerankbench: {as_line(str(error))}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"\nrerankbench: interrupted; {_how_to_go_on(options)}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        _drop_output()
        return 0
    except OSError as error:
        if is_debug:
            raise
        _drop_output()
        problem = f"{error.filename}: {error.strerror}; check this path"
        if error.filename is None:
            problem = f"cannot read or write ({error.strerror or error}); check the output and its disk"
        print(as_line(f"rerankbench: {problem}"), file=sys.stderr)
        return 1
    except Exception as error:
        if is_debug:
            raise
        print(f"rerankbench: {as_line(_fault(error, options.again))}", file=sys.stderr)
        return 1


def _name(words: Sequence[str]) -> str:
    """Return the command that was called."""
    return next((word for word in words if not word.startswith("-")), "")


def _fault(error: Exception, command: str) -> str:
    """Return one line about an unforeseen error, with the command that met it."""
    reason = " ".join(str(error).split()) or "no reason given"
    if isinstance(error, KeyError):
        reason += " is missing"
    return (
        f"{type(error).__name__} in `{command}`: {reason}. This is a fault of rerankbench: run it again with "
        "--debug, which shows where it is, and report it"
    )


def _drop_output() -> None:
    """Discard buffered standard output if it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _how_to_go_on(options: argparse.Namespace) -> str:
    """Return a hint for an interrupted command: how to resume or repeat it."""
    if options.kept is not None:
        return f"{options.kept}; the same command resumes: {options.again}"
    return f"to do it again: {options.again}"


def _quieten() -> None:
    """Silence messages and progress bars of libraries through environment variables."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def build_parser(extensions: Sequence[Command]) -> argparse.ArgumentParser:
    """Return the program's argument parser with its own commands and those of other packages."""
    common = common_options()
    parser = Parser(
        prog="rerankbench",
        description="Benchmark passage rerankers: how good they are and where their time goes.",
        epilog="Start with: rerankbench run demo, then rerankbench report runs/demo.\n"
        "rerankbench COMMAND --help shows examples. Exit status: 0 done, 1 some cells failed, 2 bad input.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.set_defaults(command=None, kept=None)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    parsers = parser.add_subparsers(metavar="COMMAND", title="commands")
    add_commands(parsers, common, [*FIRST, *extensions, *LATER])
    add_commands(parsers, common, [completion_of(parser), SELFTEST])
    return parser


def _extensions(words: Sequence[str]) -> Sequence[Command]:
    """Return commands of other packages; empty if the words call a built-in command, which saves time."""
    built_in = {command.name for command in (*FIRST, *LATER, SELFTEST)}
    if _name(words) in built_in:
        return ()
    from benchmarks.cli.extensions import extension_commands

    return extension_commands()


class _Version(argparse.Action):
    """The action of `--version`: it looks the version up only when used, since that is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"rerankbench {version('rerankbench')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
