"""Run a training with FSDP on CPU processes, and once more as if it had been killed after its second step.

    sharded_on_cpus.py FIRST train rank CONFIG --out FOLDER

FIRST gets a copy of what the first run leaves. Both run in the same processes, whose start takes longest.

Accelerate shards on accelerators only: it asks for the kind of device before it looks for FSDP's settings.
The kind is all that this program changes; sharding, gathering and checkpoints are PyTorch's and Accelerate's
own.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import DistributedType


def main() -> int:
    state = PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    from benchmarks.cli.main import main as command_line

    first, *command = sys.argv[1:]
    folder = Path(command[-1])
    status = int(command_line(command) or 0)
    state.wait_for_everyone()
    if state.is_main_process:
        shutil.copytree(folder, first)
        shutil.rmtree(folder / "states" / "checkpoint-4")
    state.wait_for_everyone()
    return status or int(command_line(command) or 0)


if __name__ == "__main__":
    sys.exit(main())
