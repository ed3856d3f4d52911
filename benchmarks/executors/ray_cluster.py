"""The connection to a Ray cluster: to an address that answers, with Ray's messages in one line each."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager, redirect_stdout
from io import TextIOBase
from typing import TYPE_CHECKING, Any

from benchmarks.cli.redaction import as_line
from benchmarks.measuring.progress import say
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_SECONDS = 10.0  # until a port is open
PROBE_SECONDS = 30.0  # until Ray answers behind it, the start of a Python that asks included
POLL_SECONDS = 5.0
GRACE_SECONDS = 60.0  # for a node that can run a task to come back

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_OPTIONS = {"log_to_driver": False, "logging_level": 30}  # warnings


def connect(ray: Any) -> None:
    """Connect to the cluster of `RAY_ADDRESS`, else to the one that runs on this machine, else start one.

    Raises:
        InputError: `RAY_ADDRESS` is none, or no Ray of this version answers there.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address in ("", "auto") and _fault(None) is None:
        _join(ray, address or None)  # None: only a cluster of `ray start`, as the probe
        say("Ray: RAY_ADDRESS names no address; the cluster that runs on this machine is used")
    elif address in ("", "local"):
        ray.init(address="local", **_OPTIONS)
        resources = ray.cluster_resources()
        counts = f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"
        say(f"Ray: RAY_ADDRESS names no cluster; a private one was started on this machine, with {counts}")
    elif address == "auto":
        raise InputError(
            "RAY_ADDRESS=auto: no Ray cluster runs on this machine. Start one: ray start --head."
        )
    else:
        if not address.startswith("ray://"):
            _check_port(address)
            if (fault := _fault(address)) is not None:
                raise InputError(
                    f"RAY_ADDRESS={address}: no Ray cluster can be used there ({fault}). Give the port that "
                    "`ray start --head` prints, 6379 by default."
                )
        _join(ray, address)


def _check_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"RAY_ADDRESS={address}: is no address. Write HOST:PORT or ray://HOST:PORT.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"RAY_ADDRESS={address}: cannot connect ({reason}). Check the host and the port, or unset "
            "RAY_ADDRESS to run on this machine alone."
        ) from error


def _fault(address: str | None) -> str | None:
    """Return why no Ray answers at an address, or on this machine; None if one does.

    A process of its own asks, because Ray's client ends the process that it cannot connect.
    """
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "health-check"]
    command += [] if address is None else ["--address", address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_SECONDS:g} seconds"
    if done.returncode == 0:
        return None
    return as_line((done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1])


def _join(ray: Any, address: str | None) -> None:
    try:
        ray.init(address=address, **_OPTIONS)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = as_line(" ".join(str(error).split()))
        raise InputError(
            f"RAY_ADDRESS={address or ''}: cannot connect ({reason}). Run on a node of the cluster, or give "
            "the address of its client server: ray://HOST:10001."
        ) from error


@contextmanager
def short_messages() -> Iterator[None]:
    """Say each of Ray's own messages, which it prints to standard output, in one line."""
    with redirect_stdout(_Messages()):
        yield


class _Messages(TextIOBase):
    """A text stream that says the first sentence of each message."""

    def write(self, text: str) -> int:
        message = " ".join(_COLOR.sub("", text).split()).removeprefix("(raylet) ")
        if message and not message.startswith("Task "):  # such as `Task _measure failed`: the same loss again
            say(as_line(f"Ray: {message.partition('. ')[0].rstrip('.')}"))
        return len(text)


def next_done(ray: Any, tasks: Mapping[Any, Mapping[str, int]]) -> Any | None:
    """Wait for a task that is done; return None if no node that can run one of them is left.

    Args:
        ray: the module.
        tasks: the CPUs and GPUs that each asks for.
    """
    without_node = 0
    while without_node * POLL_SECONDS <= GRACE_SECONDS:
        done, _ = ray.wait(list(tasks), num_returns=1, timeout=POLL_SECONDS)
        if done:
            return done[0]
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(_fits(request, node) for request in tasks.values() for node in nodes):
            without_node = 0
            continue
        if not without_node:
            say(f"Ray: {no_node(tasks)}; waiting {GRACE_SECONDS:g} seconds for one")
        without_node += 1
    return None


def no_node(tasks: Mapping[Any, Mapping[str, int]]) -> str:
    """Return the words for a cluster without a node for these tasks."""
    wanted = {
        f"{request['num_cpus']} CPUs and {request.get('num_gpus', 0)} GPUs" for request in tasks.values()
    }
    return f"no node with {' or '.join(sorted(wanted))} is left in the cluster"


def _fits(request: Mapping[str, int], node: Mapping[str, float]) -> bool:
    return all(node.get(kind, 0) >= request.get(f"num_{kind.lower()}s", 0) for kind in ("CPU", "GPU"))
