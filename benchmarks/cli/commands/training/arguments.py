"""Arguments that several training commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

KEPT = "what was saved is kept"


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments `--set` and `--out` to a parser."""
    add_set(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="result folder; the same command resumes")


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add the argument `--set KEY=VALUE ...` to a parser."""
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change a setting"
    )
