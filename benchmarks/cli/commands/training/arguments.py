"""Arguments and words that the commands of training share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

KEPT = "what was saved is kept"


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--set` and `--out`."""
    add_set(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="result folder; the same command resumes")


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add `--set KEY=VALUE ...`."""
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change a setting"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the settings file, which may be a ready one."""
    parser.add_argument("config", metavar="CONFIG", help="a settings file, or the name of a ready one")
