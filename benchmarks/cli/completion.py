"""Generates shell completion scripts from the argument parser, so that they name only what exists.

The script is static: pressing Tab starts no Python. zsh reads bash's script through its own `bashcompinit`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rerankers.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
_rerankbench() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" words="" files="yes"
  local one="${{COMP_WORDS[1]}}" two="${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}"
  ((COMP_CWORD < 2)) && one=""
  ((COMP_CWORD < 3)) && two="$one"
  case "$two $previous" in
{values}
    *) case "$two" in
{commands}
      *) case "$one" in
{groups}
        esac ;;
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ "$current" == -* || -z "$one" || -z "$files" ]] || COMPREPLY+=($(compgen -f -- "$current"))
}}
complete -o filenames -F _rerankbench rerankbench
"""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script that completes a parser's commands, options and values in bash, zsh or fish."""
    if shell == "fish":
        return "\n".join(_fish(parser))
    bash = _bash(parser)
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash}" if shell == "zsh" else bash


def _bash(parser: argparse.ArgumentParser) -> str:
    """Return the bash script."""
    values: list[str] = []
    commands: list[str] = []
    groups: list[str] = []
    for path, command in _walk(parser):
        words = " ".join(word for action in command._actions for word in _words(path, action))
        pattern = " ".join(path)
        branches = commands if len(path) == 2 else groups
        branches.append(f'          "{pattern}") words="{words}" ;;')
        for action in command._actions:
            choices = " ".join(_values(path, action))
            for option in action.option_strings if choices else ():
                values.append(
                    f'    "{pattern} {option}"|"{pattern} "*" {option}") words="{choices}" files="" ;;'
                )
    return _BASH.format(values="\n".join(values), commands="\n".join(commands), groups="\n".join(groups))


def _fish(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the lines of the fish script."""
    for path, command in _walk(parser):
        tests = [f"__fish_seen_subcommand_from {name}" for name in path] or ["__fish_use_subcommand"]
        where = f"complete -c rerankbench -n '{'; and '.join(tests)}'"
        for action in command._actions:
            help_text = (action.help or "").replace("'", "").replace("%%", "%")
            words = " ".join(_values(path, action))
            for option in action.option_strings:
                flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
                takes = f" -xa '{words}'" if words else " -r" if action.nargs != 0 else ""
                yield f"{where} {flag}{takes} -d '{help_text}'"
            if isinstance(action, argparse._SubParsersAction):
                for choice in action._choices_actions:
                    summary = (choice.help or "").replace("'", "")
                    yield f"{where} -fa '{choice.dest}' -d '{summary}'"
            elif not action.option_strings and words:
                yield f"{where} -a '{words}'"


def _walk(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Yield (words that call it, its parser) for each command and subcommand, the program itself first."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from _walk(command, (*path, name))


def _words(path: tuple[str, ...], action: argparse.Action) -> tuple[str, ...]:
    """Return an argument's option strings; for a positional argument, its possible values."""
    return tuple(action.option_strings) or _values(path, action)


def _values(path: tuple[str, ...], action: argparse.Action) -> tuple[str, ...]:
    """Return the values that an argument may take; empty if any value is allowed.

    Rerankers and ready experiments are listed.
    """
    if action.choices is not None:
        return tuple(str(choice) for choice in action.choices)
    if action.dest in ("reranker", "rerankers"):
        return tuple(METHODS)
    if action.dest == "config":
        folder = Path(__file__).parents[1] / "configs"
        folder = folder / "training" if path[0] == "train" else folder
        return tuple(sorted(file.stem for file in folder.glob("*.yaml")))
    return ()
