"""`rerankbench completion`: a shell's completion script, made from the parser."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from benchmarks.cli.completion import SHELLS

if TYPE_CHECKING:
    import argparse


def completion_of(program: argparse.ArgumentParser) -> Command:
    """Return the command that completes a program's commands, itself included."""
    return Command(
        name="completion",
        summary="print shell completion",
        examples=(
            'bash    put eval "$(rerankbench completion bash)" into ~/.bashrc',
            'zsh     put eval "$(rerankbench completion zsh)" into ~/.zshrc',
            "fish > ~/.config/fish/completions/rerankbench.fish",
        ),
        run=partial(_run, program),
        add_arguments=_add_arguments,
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS)


def _run(program: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from benchmarks.cli.completion import script

    print(script(program, options.shell))
    return 0
