"""Checks the number of training processes that a launcher started against the number it was given."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import psutil

from rerankers.errors import InputError

_LAUNCHERS = {"accelerate", "accelerate-launch", "accelerate.commands.launch", "launch.py"}


def is_sharded() -> bool:
    """Return whether the launcher asks for FSDP or DeepSpeed, which spread weights over processes."""
    names = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return any(os.environ.get(name, "false").lower() == "true" for name in names)


def refuse_lost_processes() -> None:
    """Raise an error if `accelerate launch` was given several processes but started only this one, on CPUs.

    It starts one process on CPUs whatever `--num_processes` says, without a message.

    Raises:
        InputError: several processes were asked for, and this is the only one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return
    try:
        arguments = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return
    if not any(Path(argument).name in _LAUNCHERS for argument in arguments[:4]):
        return
    count = _process_count(arguments)
    if count > 1:
        raise InputError(
            f"accelerate launch --num_processes {count}: it started one process. On CPUs, start them with "
            f"ACCELERATE_USE_CPU=true torchrun --nproc-per-node {count} -m benchmarks.cli train ..."
        )


def _process_count(arguments: list[str]) -> int:
    """Return the value of `--num_processes` in a launcher's command line; 1 without one."""
    spread = [part for argument in arguments for part in argument.split("=", 1)]
    for name, value in pairwise(spread):
        if name.replace("-", "_") == "__num_processes" and value.isdigit():
            return int(value)
    return 1
