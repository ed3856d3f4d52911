"""Python's garbage collector, kept away from where its work would be timed or has no use."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def collector_off() -> Iterator[None]:
    """Turn Python's garbage collector off within the block, after one collection."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def thawed_at_the_end() -> Iterator[None]:
    """Thaw what is frozen within the block at its end, unless the caller had frozen something before."""
    was_frozen = gc.get_freeze_count() > 0
    try:
        yield
    finally:
        if not was_frozen:
            gc.unfreeze()
