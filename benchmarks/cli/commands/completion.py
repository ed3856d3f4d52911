"""`rerankbench completion`: prints a shell's completion script, generated from the parser."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from benchmarks.cli.completion import SHELLS

if TYPE_CHECKING:
    import argparse


def completion_of(program: argparse.ArgumentParser) -> Command:
    """Return the command `completion` for a program's parser, whose commands and options it completes."""
    return Command(
        name="completion",
        summary="print shell completion",
        examples=(
            'bash    put eval "$(rerankbench completion bash)" into ~/.bashrc',
            'zsh     put eval "$(rerankbench completion zsh)" into ~/.zshrc, behind compinit',
            "fish > ~/.config/fish/completions/rerankbench.fish",
        ),
        run=partial(_run, program),
        add_arguments=_add_arguments,
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("shell", choices=SHELLS)


def _run(program: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Print the completion script of a shell and return exit status 0."""
    from benchmarks.cli.completion import script

    print(script(program, options.shell))
    return 0
