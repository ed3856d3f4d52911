"""`rerankbench judge`: lets a chat model grade unjudged passages of a result folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command, option_values
from rerankers.errors import InputError

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="result folder")
    parser.add_argument("--model", required=True, metavar="NAME", help="the chat model that grades")
    parser.add_argument(
        "--option",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="options of the chat model, as rankgpt has them: base_url, backend, concurrency, price, ...",
    )
    parser.add_argument("--depth", type=int, default=10, metavar="K", help="first ranks of every system (10)")
    parser.add_argument(
        "--agreement",
        type=int,
        default=200,
        metavar="N",
        help="judged passages to grade too, which shows how far the model agrees (200)",
    )
    parser.add_argument(
        "--scale", metavar="A,B,C,D", help="the judgements' grades that stand for the model's 0, 1, 2, 3"
    )
    parser.add_argument(
        "--reading",
        choices=("written", "forced"),
        default="written",
        help="take the grade that a model in this process writes, or the most likely of the four (written)",
    )
    parser.add_argument("--budget", type=float, metavar="DOLLARS", help="stop before endpoints cost more")


def _run(options: argparse.Namespace) -> int:
    """Let the model grade the passages, print where the grades are and return exit status 0."""
    from benchmarks.judging.judge import judge
    from benchmarks.judging.options import chat_options, read_scale
    from benchmarks.judging.passages import find_holes

    if options.depth < 1 or options.agreement < 0:
        raise InputError("--depth starts at 1 and --agreement at 0. Give larger numbers.")
    chat = chat_options(options.model, option_values(options.option))
    holes = find_holes(options.folder, options.depth, options.agreement, read_scale(options.scale))
    name = judge(options.folder, holes, chat, options.budget, options.depth, options.reading)
    print(f"grades in {options.folder}/judgements/{name}; next: rerankbench report {options.folder}")
    return 0


JUDGE = Command(
    name="judge",
    summary="grade passages that nobody judged by a chat model",
    examples=(
        "runs/dl19 --model gpt-4o --budget 5",
        "runs/dl19 --model Qwen/Qwen3-8B --option backend=transformers --depth 10 --agreement 500",
    ),
    run=_run,
    add_arguments=_add_arguments,
    kept="the model outputs so far are kept",
)
