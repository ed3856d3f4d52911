"""The commands that make checkpoints and their data: `rerankbench train ...` and `rerankbench distill`."""

from __future__ import annotations

import argparse
import shlex
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

STAGES = {
    "align": "teach the projector to say passages in the language model's own terms (the paper's stage 1)",
    "query": "teach the model to point at what its encoder finds similar (a short warm-up, ours)",
    "rank": "teach the model to rank (the paper's stage 2)",
    "cross-encoder": "teach an encoder to score a query with a passage, on lists with a teacher's scores",
    "text": "teach a language model to rank passages by their text, on the same lists",
}


def add_train(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `train` with its stages and tools, and `distill`, to a parser's commands."""
    train = _add(
        commands,
        common,
        "train",
        "train a reranker: PE-Rank, the same language model on text, a cross-encoder, or E2Rank",
        "query warm-up.yaml --out runs/warm-up",
        "rank rank.yaml --set init_from=runs/warm-up/best optimizer.max_steps=2000",
        "shrink runs/rank/best --rank 4 --out pe-rank-small",
    )
    train.epilog = (
        f"{train.epilog}\n\non several devices (DDP, FSDP, DeepSpeed: as `accelerate config` says):\n"
        "  accelerate launch -m benchmarks.cli train rank rank.yaml"
    )
    train.set_defaults(command=lambda _: _help(train), kept="what was saved is kept")
    tools = train.add_subparsers(metavar="WHAT", title="what to do")
    for stage, what in STAGES.items():
        added = _add(
            tools, common, stage, what, f"{stage}.yaml", f"{stage}.yaml --set seed=1 --out runs/{stage}"
        )
        added.set_defaults(command=_train, stage=stage)
        added.add_argument("config", type=Path, metavar="CONFIG", help="a settings file")
        added.add_argument(
            "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change a setting"
        )
        added.add_argument("--out", type=Path, metavar="DIR", help="result folder; the same command resumes")
        added.add_argument(
            "--dry-run",
            action="store_true",
            help="check data and models, say what would be trained, and stop",
        )
    _add_module(
        tools,
        common,
        "e2rank",
        "teach an embedding model to rank by a listwise prompt (E2Rank's stage 2)",
        "benchmarks.training_data.e2rank",
    )
    shrink = _add(
        tools,
        common,
        "shrink",
        "cut a checkpoint's adapter to a lower rank",
        "runs/rank/best --rank 4 --out pe-rank-small",
    )
    shrink.set_defaults(command=_shrink)
    shrink.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint with an adapter")
    shrink.add_argument("--rank", type=int, required=True, metavar="R", help="rank to keep")
    shrink.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16")
    shrink.add_argument("--out", type=Path, required=True, metavar="DIR")
    export = _add(
        tools,
        common,
        "export",
        "write a checkpoint in the layout of the published code",
        "runs/rank/best --out exported",
    )
    export.set_defaults(command=_export)
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint with an adapter")
    export.add_argument("--out", type=Path, required=True, metavar="DIR")
    _add_module(
        tools,
        common,
        "align-data",
        "make alignment data from texts",
        "benchmarks.training_data.align_data",
    )
    _add_module(
        commands, common, "distill", "make ranking data with a teacher", "benchmarks.training_data.distill"
    )


def _add(
    commands: Any, common: argparse.ArgumentParser, name: str, what: str, *examples: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    if examples:
        lines = "\n".join(f"  {parser.prog} {example}" for example in examples)
        parser.epilog = f"examples:\n{lines}"
    return parser


def _add_module(commands: Any, common: argparse.ArgumentParser, name: str, what: str, module: str) -> None:
    """Add a command whose module brings its own arguments; it is imported when the command is called."""
    parser = _add(commands, common, name, what)
    parse = parser.parse_known_args

    def parse_with_arguments(arguments: Any = None, namespace: Any = None) -> Any:
        brought = import_module(module)
        brought.add_arguments(parser)
        parser.set_defaults(command=brought.run, kept="what was saved is kept")
        return parse(arguments, namespace)

    parser.parse_known_args = parse_with_arguments  # type: ignore[assignment, method-assign]


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0


def _train(options: argparse.Namespace) -> int:
    from benchmarks.training_data.pe_rank import train

    overrides: Sequence[str] = options.set
    command = ["rerankbench", "train", options.stage, str(options.config)]
    command += ["--set", *overrides] if overrides else []
    command += ["--out", str(options.out)] if options.out else []
    for line in train(
        options.stage,
        options.config,
        overrides,
        options.out,
        dry_run=options.dry_run,
        command=shlex.join(command),
    ):
        print(line)
    return 0


def _shrink(options: argparse.Namespace) -> int:
    import torch

    from rerankers.training.export import truncate_adapter

    truncate_adapter(options.checkpoint, options.out, options.rank, getattr(torch, options.dtype))
    size = sum(path.stat().st_size for path in options.out.iterdir()) / 1e6
    print(f"{options.out}: {size:.1f} MB, adapter of rank {options.rank}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from rerankers.training.export import export_published

    export_published(options.checkpoint, options.out)
    print(options.out)
    return 0
