"""The registered first stages by name: one row each, imported on first use.

To add a first stage, write its class in `benchmarks/first_stages/` and add a row here. A first stage of one's
own needs no row: name it `module:Class`, in a package that is installed or a file in the working folder.
"""

from __future__ import annotations

FIRST_STAGES: dict[str, str] = {
    "random": "benchmarks.first_stages.random_order:RandomOrder",
}
"""The class of each first stage, a `benchmarks.first_stages.interface.FirstStage`."""
