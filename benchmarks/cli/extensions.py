"""Loads commands and pages of other packages through entry points, such as `report` and `table` of `reports`.

Thus no module below `reports` imports it.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError

if TYPE_CHECKING:
    from benchmarks.cli.command import Command

COMMANDS = "rerankbench.commands"
PAGES = "rerankbench.pages"


def extension_commands() -> list[Command]:
    """Return the commands of other packages, in the order of their names."""
    return [point.load() for point in sorted(entry_points(group=COMMANDS), key=lambda point: point.name)]


def load_page(name: str) -> Any:
    """Return the function of this name that renders result folders to a page, such as `html`.

    Raises:
        InputError: no installed package has this page.
    """
    for point in entry_points(group=PAGES, name=name):
        return point.load()
    raise InputError(f"no installed package makes {name!r} pages. Install rerankbench again: pip install .")
