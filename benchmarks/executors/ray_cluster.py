"""Connects to a Ray cluster, shortens its messages to one line, and notices when the cluster is lost."""

from __future__ import annotations

import os
import platform
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
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CONNECT_SECONDS = 10.0  # until a port is open
PROBE_SECONDS = 30.0  # until Ray answers behind it, the start of a Python that asks included
POLL_SECONDS = 5.0
GRACE_SECONDS = 60.0  # for a node that can run a task to come back
HEAD_SECONDS = 30.0  # for the head node to answer again; after 60 Ray ends this process
HEAD_ANSWER_SECONDS = 2.0  # for one connection to it

_OF_TASKS = ("Task ", "A worker died")  # messages about a loss, which the driver prints with its cell

_AGAIN = "Then run the same command again: finished queries are kept."
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_OPTIONS = {"log_to_driver": False, "logging_level": 30}  # warnings


def connect(ray: Any, luggage: Path | None = None) -> None:
    """Connect to the cluster of `RAY_ADDRESS`, else to the one that runs on this machine, else start one.

    Args:
        ray: the imported module.
        luggage: a folder that Ray sends to every node, where tasks then run.

    Raises:
        InputError: `RAY_ADDRESS` is not an address, or no Ray of this version answers there.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    options = {**_OPTIONS, **({"runtime_env": {"working_dir": str(luggage)}} if luggage else {})}
    if address in ("", "auto") and _fault(None) is None:
        _join(ray, address or None, options)  # None: only a cluster of `ray start`, as the probe
        say("Ray: RAY_ADDRESS names no address; the cluster that runs on this machine is used")
    elif address in ("", "local"):
        ray.init(address="local", **options)
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
        _join(ray, address, options)


def _check_port(address: str) -> None:
    """Connect to `HOST:PORT` once and close the connection; raise InputError if that fails."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"RAY_ADDRESS={address}: not an address. Write HOST:PORT or ray://HOST:PORT.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"RAY_ADDRESS={address}: cannot connect ({reason}). Check the host and the port, or unset "
            "RAY_ADDRESS to run on this machine alone."
        ) from error


def _fault(address: str | None) -> str | None:
    """Return a reason why no Ray answers at an address, or on this machine; None if one does.

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


def _join(ray: Any, address: str | None, options: Mapping[str, Any]) -> None:
    """Initialise Ray at an address with these options; raise InputError if it cannot connect."""
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = as_line(" ".join(str(error).split()))
        raise InputError(
            f"RAY_ADDRESS={address or ''}: cannot connect ({reason}). Run on a node of the cluster, or give "
            "the address of its client server: ray://HOST:10001."
        ) from error


@contextmanager
def short_messages() -> Iterator[None]:
    """Print only the first sentence of what Ray writes to standard output in the `with` block."""
    with redirect_stdout(_Messages()):
        yield


class _Messages(TextIOBase):
    """A text stream that prints the first sentence of each message, and drops those about tasks."""

    def write(self, text: str) -> int:
        message = " ".join(_COLOR.sub("", text).split()).removeprefix("(raylet) ")
        if message and not message.startswith(_OF_TASKS):
            say(as_line(f"Ray: {message.partition('. ')[0].rstrip('.')}"))
        return len(text)


class Watch:
    """A watch over running tasks, which notices when the cluster cannot finish them.

    Args:
        ray: the module, connected.

    Attributes:
        lost: reason why the cluster is lost, in words; empty until then.
        is_connected: whether the head node answers.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._clock = StageClock()
        is_client = ray.util.client.ray.is_connected()  # it watches its server itself
        self._head = None if is_client else ray.get_runtime_context().gcs_address
        self._checked = self._clock.now()
        self._silent_since: float | None = None
        self._without_node = 0
        self.lost = ""
        self.is_connected = True

    def next_news(self, tasks: Mapping[Any, Mapping[str, int]]) -> Any | None:
        """Wait for a report, and return a task that has one; None after a while, or once the cluster is lost.

        Args:
            tasks: the CPUs and GPUs that each task requests.
        """
        try:
            ready, _ = self._ray.wait(list(tasks), num_returns=1, timeout=POLL_SECONDS, fetch_local=False)
        except ConnectionError as error:  # of Ray's client
            self.is_connected = False
            self.lost = f"the connection to the cluster is lost ({as_line(str(error))}). {_AGAIN}"
            return None
        self._check_head()
        if ready:
            self._without_node = 0
        elif self.is_connected:
            self._check_nodes(tasks)
        return ready[0] if ready and not self.lost else None

    def _check_head(self) -> None:
        """Test whether the head node answers; mark the cluster as lost after it was silent for too long."""
        now = self._clock.now()
        if self._head is None or (now - self._checked < POLL_SECONDS and self.is_connected):
            return
        self._checked = now
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=HEAD_ANSWER_SECONDS).close()
        except OSError:
            if self.is_connected:
                say(f"Ray: the head node {self._head} does not answer; waiting {HEAD_SECONDS:g} seconds")
                self._silent_since = now
            self.is_connected = False
            if self._silent_since is not None and now - self._silent_since >= HEAD_SECONDS:
                self.lost = f"the head node {self._head} is lost. Start the cluster again. {_AGAIN}"
        else:
            self.is_connected = True

    def _check_nodes(self, tasks: Mapping[Any, Mapping[str, int]]) -> None:
        """Test whether some node can run one of the tasks.

        Mark the cluster as lost after too long without one.
        """
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(_fits(request, node) for request in tasks.values() for node in nodes):
            self._without_node = 0
            return
        if not self._without_node:
            say(f"Ray: {_no_node(tasks)}; waiting {GRACE_SECONDS:g} seconds for one")
        self._without_node += 1
        if self._without_node * POLL_SECONDS > GRACE_SECONDS:
            self.lost = f"{_no_node(tasks)}. Start one with `ray start`. {_AGAIN}"


def _no_node(tasks: Mapping[Any, Mapping[str, int]]) -> str:
    """Return a message that no node with the requested CPUs and GPUs is left."""
    wanted = {
        f"{request['num_cpus']} CPUs and {request.get('num_gpus', 0)} GPUs" for request in tasks.values()
    }
    return f"no node with {' or '.join(sorted(wanted))} is left in the cluster"


def _fits(request: Mapping[str, int], node: Mapping[str, float]) -> bool:
    """Return whether a node has the CPUs and GPUs of a request."""
    return all(node.get(kind, 0) >= request.get(f"num_{kind.lower()}s", 0) for kind in ("CPU", "GPU"))


def node_name() -> tuple[str, str]:
    """Return this node's display name, and the first 8 digits of Ray's id of it."""
    import ray

    node_id = ray.get_runtime_context().get_node_id()[:8]
    return f"{platform.node()} ({node_id})", node_id
