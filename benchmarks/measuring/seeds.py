"""Seeding of random generators by the call alone, so that every run of a call draws the same."""

from __future__ import annotations

import hashlib
import random
import sys


def seed_everything(*parts: object) -> None:
    """Seed Python's random generator, and those of numpy and torch if loaded, from the arguments.

    It runs before each call, with the protocol's seed, the query and the repeat: what came before, such as a
    warm-up of unknown length, an interruption or another shard, then changes nothing.
    """
    seed = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")
    random.seed(seed)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        numpy.random.seed(seed)  # some models' own code draws from the global generator
    if torch is not None:
        torch.default_generator.manual_seed(seed)  # the CPU's; `torch.manual_seed` takes 200 µs
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
