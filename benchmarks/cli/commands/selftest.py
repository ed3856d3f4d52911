"""`rerankbench selftest`: checks the harness with rerankers whose result is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cli.command import Command

if TYPE_CHECKING:
    import argparse


def _run(_: argparse.Namespace) -> int:
    """Print each check; return exit status 0 if all hold, else 1."""
    from benchmarks.cli.selftest import selftest

    checks = selftest()
    for check in checks:
        print(check)
    return 0 if all(check.is_kept for check in checks) else 1


SELFTEST = Command(
    name="selftest", summary="check the harness on rerankers whose result is known", examples=("",), run=_run
)
