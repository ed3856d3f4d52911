"""`rerankbench schema`: prints the JSON Schema of experiment files, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cli.command import Command

if TYPE_CHECKING:
    import argparse


def _run(_: argparse.Namespace) -> int:
    """Print the schema and return exit status 0."""
    import json

    from benchmarks.experiments.json_schema import experiment_schema

    print(json.dumps(experiment_schema(), indent=1, ensure_ascii=False))
    return 0


SCHEMA = Command(
    name="schema",
    summary="print the JSON Schema of experiment files, by which editors complete and check them",
    examples=("> experiment.schema.json",),
    run=_run,
)
