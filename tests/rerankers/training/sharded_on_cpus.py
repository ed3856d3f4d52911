"""Run the command line with FSDP on CPU processes.

Accelerate shards on accelerators only: it asks for the kind of device before it looks for FSDP's settings.
The kind is all that this program changes; sharding, gathering and checkpoints are PyTorch's and Accelerate's
own.
"""

from __future__ import annotations

import sys

from accelerate import PartialState
from accelerate.utils import DistributedType


def main() -> int:
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    from benchmarks.cli.main import main as command_line

    return int(command_line(sys.argv[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
