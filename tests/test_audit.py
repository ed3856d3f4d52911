"""The audit of the pins: a finding always fails, and only a service that never answers may be passed over."""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pip_audit") is None, reason="python -m tox -e audit brings pip-audit"
)
SCRIPT = Path(__file__).parents[1] / ".ci" / "audit.py"
KNOWN = ("pyyaml", "5.3")
Answer = tuple[int, dict[str, Any]]
Audit = Callable[..., subprocess.CompletedProcess[str]]


def vulnerable(name: str) -> Answer:
    """Return an answer as OSV gives it."""
    affected = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": []}
    return 200, {"vulns": [{"id": f"PYSEC-{name}", "summary": "bad", "affected": [affected]}]}


class Service(http.server.ThreadingHTTPServer):
    """An advisory service on this machine; what was not told is clean."""

    answers: dict[tuple[str, str], Answer]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/query"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        request_body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.server.answers.get(
            (request_body["package"]["name"], request_body["version"]), (200, {})
        )
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(("127.0.0.1", 0), Handler) as server:
        server.answers = {KNOWN: vulnerable("pyyaml")}
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    pins = tmp_path / "pins.txt"
    pins.write_text("one==1.0\ntwo==2.0\n", encoding="utf-8")

    def run(url: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), "--url", url, "--pins", str(pins), *options]
        environment = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return run


@pytest.mark.parametrize("options", [[], ["--skip-unreachable"]])
def test_clean_pins_pass(service: Service, audit: Audit, options: list[str]) -> None:
    result = audit(service.url, *options)
    assert result.returncode == 0
    assert "No known vulnerabilities found" in result.stderr


@pytest.mark.parametrize("options", [[], ["--skip-unreachable"]])
def test_a_vulnerable_pin_fails(service: Service, audit: Audit, options: list[str]) -> None:
    service.answers["two", "2.0"] = vulnerable("two")
    result = audit(service.url, *options)
    assert result.returncode == 1
    assert "PYSEC-two" in result.stdout


def test_a_service_out_of_reach_fails_or_is_said_in_one_line(service: Service, audit: Audit) -> None:
    service.server_close()
    assert audit(service.url).returncode == 1
    result = audit(service.url, "--skip-unreachable")
    assert result.returncode == 0
    assert result.stdout == f"audit skipped: {service.url} gives no answer (ConnectionError)\n"
    assert not result.stderr


def test_a_service_that_refuses_is_out_of_reach(service: Service, audit: Audit) -> None:
    service.answers[KNOWN] = 503, {}
    assert audit(service.url).returncode == 1
    result = audit(service.url, "--skip-unreachable")
    assert result.returncode == 0
    assert result.stdout == f"audit skipped: {service.url} answers 503\n"


def test_a_service_that_breaks_off_fails(service: Service, audit: Audit) -> None:
    service.answers["two", "2.0"] = 503, {}
    assert audit(service.url, "--skip-unreachable").returncode != 0


def test_a_service_without_advisories_fails(service: Service, audit: Audit) -> None:
    del service.answers[KNOWN]
    result = audit(service.url, "--skip-unreachable")
    assert result.returncode == 1
    assert "knows of no vulnerability" in result.stderr
