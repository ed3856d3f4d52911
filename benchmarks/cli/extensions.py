"""Commands and pages that other packages bring: `reports` has `report` and `table`, and the HTML page.

They are found through entry points, so that nothing below `reports` imports it.
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
    """Return the function that makes a page of result folders.

    Raises:
        InputError: no installed package brings this page.
    """
    for point in entry_points(group=PAGES, name=name):
        return point.load()
    raise InputError(f"no installed package makes {name!r} pages. Install rerankbench again: pip install .")
