"""The command line. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cli.completion import Suggested
from benchmarks.cli.redaction import as_line, show_debugging
from benchmarks.cli.starting import add_completion, add_convert, add_init
from benchmarks.cli.training import add_train
from reports.tables.layouts import LAYOUTS
from rerankers.errors import InputError, RerankbenchError, UnknownNameError
from rerankers.files.paths import STANDARD_OUTPUT, input_path, output_path
from rerankers.text.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 some cells failed, 2 bad input."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.again = shlex.join(["rerankbench", *(sys.argv[1:] if arguments is None else arguments)])
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
        what = f"{error.filename}: {error.strerror}; check this path"
        if error.filename is None:
            what = f"cannot read or write ({error.strerror or error}); check the output and its disk"
        print(as_line(f"rerankbench: {what}"), file=sys.stderr)
        return 1
    except Exception as error:
        if is_debug:
            raise
        print(f"rerankbench: {as_line(_fault(error, options.again))}", file=sys.stderr)
        return 1


def _fault(error: Exception, command: str) -> str:
    """Describe an error that no check foresaw."""
    reason = " ".join(str(error).split()) or "no reason given"
    if isinstance(error, KeyError):
        reason += " is missing"
    return (
        f"{type(error).__name__} in `{command}`: {reason}. This is a fault of rerankbench: run it again with "
        "--debug, which shows where it is, and report it"
    )


def _drop_output() -> None:
    """Send what is left of standard output nowhere, if it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace) -> int:
    from benchmarks.executors.local import run
    from benchmarks.executors.ray import on_cluster
    from benchmarks.experiments.config import find_experiment, load_experiment
    from benchmarks.experiments.dry_run import outlook

    overrides = list(options.set)
    if options.limit is not None:
        overrides.append(f"limit={options.limit}")
    if options.budget is not None:
        overrides.append(f"budget={options.budget}")
    experiment, config = load_experiment(find_experiment(options.config), overrides)
    options.out = folder = options.out or Path(experiment.out or f"runs/{experiment.name}")
    if options.dry_run:
        for line in outlook(experiment, folder):
            print(printable(line))
        return 0
    outcome = run(experiment, config, folder, on_cluster if options.executor == "ray" else None)
    done = outcome.cells - len(outcome.failures)
    cost = f" for ${outcome.dollars:.4f} at list price" if outcome.dollars else ""
    print(
        f"{done} of {outcome.cells} cells done{cost}; results in {folder}; next: rerankbench report {folder}"
    )
    return outcome.exit_status


def _report(options: argparse.Namespace) -> int:
    from benchmarks.results.store import trusted
    from reports.formats.html import report

    with trusted(options.folders):
        page = report(options.folders, options.out, options.baseline)
    if page != STANDARD_OUTPUT:
        print(page)
    return 0


def _table(options: argparse.Namespace) -> int:
    from benchmarks.results.store import trusted
    from reports.tables.by_name import table

    with trusted(options.folders):
        print(table(options.folders, options.format, options.layout, options.baseline))
    return 0


def _rerank(options: argparse.Namespace) -> int:
    from benchmarks.cli.rerank import rerank_file

    chosen = _assignments(options.option)
    rerank_file(options.reranker, chosen, options.candidates, options.output, options.budget)
    return 0


def _import_run(options: argparse.Namespace) -> int:
    from benchmarks.results import imports

    runs = imports.labelled_runs(options.runs, options.first_stage)
    if options.pool:
        pool = imports.stored_pool(options.out, options.pool)
    elif options.first_stage and options.qrels:
        pool = imports.pool_of(options.first_stage, options.qrels, options.dataset, options.exclude)
    else:
        raise InputError("say what the runs ranked: --first-stage RUN and --qrels FILE, or --pool DIGEST")
    cells = imports.import_runs(options.out, pool, runs)
    print(f"{len(cells)} cells on pool {pool.digest}; next: rerankbench report {options.out}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from benchmarks.results.export import export
    from benchmarks.results.store import trusted

    with trusted([options.folder]):
        for path in export(options.folder, options.format, options.out):
            print(path)
    return 0


def _merge(options: argparse.Namespace) -> int:
    from benchmarks.results.merge import merge

    cells = merge(options.folders, options.out, options.prefer)
    print(f"{len(cells)} cells in {options.out}; next: rerankbench report {options.out}")
    return 0


def _list(options: argparse.Namespace) -> int:
    from benchmarks.cli import listing

    for line in getattr(listing, options.what)():
        print(line)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from benchmarks.cli.doctor import examine

    if options.reranker is not None:
        from benchmarks.measuring.invariance import check_reranker

        for line in check_reranker(options.reranker, _assignments(options.option)):
            print(line, flush=True)
        return 0
    if options.option:
        raise InputError("--option belongs to a reranker. Name it with --reranker NAME.")
    for finding in examine(use_network=not options.offline):
        print(finding)
    if options.quick:
        return 0
    from benchmarks.experiments.capability_checks import prove
    from reports.formats.html import report

    for finding in prove(report, may_fetch=options.fetch):
        print(finding, flush=True)
    return 0


def _selftest(options: argparse.Namespace) -> int:
    from benchmarks.cli.selftest import selftest

    checks = selftest()
    for check in checks:
        print(check)
    return 0 if all(check.is_kept for check in checks) else 1


def _how_to_go_on(options: argparse.Namespace) -> str:
    if options.command is _run:
        return f"finished queries are kept; the same command resumes: {options.again}"
    if any(f" {command} " in f"{options.again} " for command in ("train", "distill")):
        return f"what was saved is kept; the same command resumes: {options.again}"
    return f"to do it again: {options.again}"


def _quieten() -> None:
    """Silence what libraries say about themselves; --debug lets them speak."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks and library messages"
    )
    parser = _Parser(
        prog="rerankbench",
        description="Benchmark passage rerankers: how good they are and where their time goes.",
        epilog="Start with: rerankbench run demo, then rerankbench report runs/demo.\n"
        "rerankbench COMMAND --help shows examples. Exit status: 0 done, 1 some cells failed, 2 bad input.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.set_defaults(command=None)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    def add(name: str, command: Callable[[argparse.Namespace], int], what: str, *examples: str) -> _Parser:
        shown = "\n".join(f"  rerankbench {name} {example}".rstrip() for example in examples)
        added = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=f"examples:\n{shown}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        )
        added.set_defaults(command=command)
        return added

    add_init(add)
    add_convert(add)
    run = add(
        "run",
        _run,
        "run an experiment, or resume it",
        "demo",
        "my-experiment.yaml --limit 5",
        "my-experiment.yaml --set protocol.repeats=3 depths=[20,100] --out runs/deep",
    )
    run.add_argument(
        "config",
        metavar="CONFIG",
        help="an experiment file, - for standard input, or the name of a ready experiment",
    )
    run.add_argument("--limit", type=int, metavar="N", help="use the first N queries of each dataset")
    run.add_argument("--out", type=Path, metavar="DIR", help="result folder (default: runs/NAME)")
    run.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the experiment"
    )

    run.add_argument(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="measure here, or on the Ray cluster that $RAY_ADDRESS names (extra `ray`)",
    )
    run.add_argument("--budget", type=float, metavar="DOLLARS", help="stop before endpoints cost more")
    run.add_argument("--dry-run", action="store_true", help="show what would be run, and run nothing")

    report = add(
        "report", _report, "make an HTML report of results", "runs/demo", "runs/a runs/b --out both.html"
    )
    report.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="result folders")
    report.add_argument("--out", type=output_path, metavar="FILE.html", help="default: DIR/report.html")
    report.add_argument(
        "--baseline", metavar="NAME", help="system that tests refer to (default: first stage)"
    )

    table = add(
        "table", _table, "print a table of results", "runs/demo --format latex", "runs/demo --format csv"
    )
    table.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="result folders")
    table.add_argument("--format", choices=("latex", "markdown", "csv"), default="markdown")
    table.add_argument(
        "--layout",
        choices=Suggested(LAYOUTS),
        default="headline",
        metavar="NAME",
        help=f"{', '.join(LAYOUTS)}, or columns such as nDCG@10,p50,stage:decode (default: headline)",
    )
    table.add_argument("--baseline", metavar="NAME", help="system that tests refer to (default: first stage)")

    rerank = add(
        "rerank",
        _rerank,
        "rerank a file of candidates into a TREC run",
        "--reranker first-stage --candidates hits.jsonl --output run.trec",
        "--reranker pe-rank --option model=./pe-rank window=20 --candidates hits.jsonl --output run.trec",
    )
    rerank.add_argument("--reranker", required=True, metavar="NAME", help="see: rerankbench list rerankers")
    rerank.add_argument(
        "--option", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="constructor options"
    )
    rerank.add_argument(
        "--candidates",
        required=True,
        type=input_path,
        metavar="FILE",
        help='lines {"query": ..., "hits": [{"content", "qid", "docid", "score"}, ...]} or another form of '
        "candidates, see docs/interoperability.md; - is standard input",
    )
    rerank.add_argument(
        "--output", required=True, type=output_path, metavar="RUN.trec", help="- is standard output"
    )
    rerank.add_argument("--budget", type=float, metavar="DOLLARS", help="stop before endpoints cost more")

    imported = add(
        "import-run",
        _import_run,
        "put others' TREC runs beside our own",
        "colbert.trec.gz --first-stage bm25.trec --qrels qrels.txt --dataset dl19 --out runs/published",
        "'Their system=theirs.trec' --pool 5833824558135693 --out runs/mine",
    )
    imported.add_argument(
        "runs", nargs="+", metavar="[LABEL=]RUN", help="runs of TREC, MS MARCO or ranx; - is standard input"
    )
    imported.add_argument("--first-stage", type=input_path, metavar="RUN", help="the run they reranked")
    imported.add_argument("--qrels", type=input_path, metavar="FILE", help="judgements")
    imported.add_argument("--dataset", default="imported", metavar="NAME", help="how tables call the data")
    imported.add_argument(
        "--exclude", choices=("identical-id", "negative-grades", "none"), help="passages that no run may rank"
    )
    imported.add_argument("--pool", metavar="DIGEST", help="candidates that DIR holds already, instead")
    imported.add_argument("--out", required=True, type=Path, metavar="DIR", help="result folder")

    exported = add(
        "export",
        _export,
        "write results in formats that others read",
        "runs/demo --format trec --out trec",
        "runs/demo --format parquet --out tables",
    )
    exported.add_argument("folder", type=Path, metavar="DIR", help="a result folder")
    exported.add_argument(
        "--format",
        choices=("trec", "rank-llm", "rankgpt", "beir", "parquet"),
        required=True,
        help="TREC runs and judgements, others' JSONL or folders, or a row for each query and repeat",
    )
    exported.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write")

    merged = add(
        "merge",
        _merge,
        "put result folders of several machines into one",
        "runs/machine-a runs/machine-b --out runs/all",
        "runs/machine-a runs/machine-b --prefer runs/machine-a --out runs/all",
    )
    merged.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="result folders")
    merged.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to put them into")
    merged.add_argument(
        "--prefer", type=Path, metavar="DIR", help="of a cell measured twice, keep the copy of this folder"
    )

    listed = add("list", _list, "list what can be named in experiments", "rerankers", "datasets")
    listed.add_argument("what", choices=("rerankers", "encoders", "datasets", "measures", "experiments"))

    doctor = add(
        "doctor",
        _doctor,
        "find out what works here and what to install, or whether a reranker's batches are exact",
        "",
        "--fetch",
        "--quick",
        "--reranker query-likelihood --option model=./my-model dtype=bfloat16",
    )
    doctor.add_argument("--offline", action="store_true", help="do not try the network")
    doctor.add_argument("--quick", action="store_true", help="look only, try nothing")
    doctor.add_argument(
        "--reranker", metavar="NAME", help="compare its scores and rankings alone and in a batch, instead"
    )
    doctor.add_argument(
        "--option", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="constructor options"
    )
    doctor.add_argument("--fetch", action="store_true", help="fetch the small models that are tried (180 MB)")

    add_train(commands, common)
    add_completion(add, parser)
    add("selftest", _selftest, "check the harness on rerankers whose result is known", "")
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that offers near misses for a misspelt command or choice."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(action, str(UnknownNameError("name", str(value), known)))


class _Version(argparse.Action):
    """Looks the version up only when asked: the look-up takes as long as the rest of the start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"rerankbench {version('rerankbench')}")
        parser.exit()


def _assignments(pairs: Sequence[str]) -> dict[str, object]:
    """`key=value` pairs; a value is read as YAML, so that 20 is a number and true a boolean.

    Raises:
        InputError: a pair has no `=`, or its value is no YAML.
    """
    from benchmarks.experiments.marked_yaml import read_value

    values: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--option {pair}: write it as key=value")
        values[key] = read_value(f"--option {pair}", text)
    return values


if __name__ == "__main__":
    sys.exit(main())
