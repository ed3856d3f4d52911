"""Compares the pinned versions with known vulnerabilities, and fails where there is one.

It first asks about a version known to be vulnerable. Only if that gets no answer is the service out of reach,
which fails as well, or with `--skip-unreachable` is said in one line. Whatever goes wrong later is a failure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

KNOWN: dict[str, Any] = {"package": {"name": "pyyaml", "ecosystem": "PyPI"}, "version": "5.3"}
"""Has two vulnerabilities, published in 2020 and 2021."""


def out_of_reach(url: str) -> str | None:
    """Why the advisory service cannot be asked; None if it answers."""
    try:
        answer = requests.post(url, json=KNOWN, timeout=15)
        if not answer.ok:
            return f"{url} answers {answer.status_code}"
        found = answer.json().get("vulns")
    except requests.RequestException as error:
        return f"{url} gives no answer ({type(error).__name__})"
    if not found:
        sys.exit(f"audit failed: {url} knows of no vulnerability in pyyaml 5.3, which has some")
    return None


def main() -> int:
    """Return the exit status of pip-audit, or that of an unreachable service."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skip-unreachable", action="store_true", help="go on where no service answers")
    parser.add_argument("--url", default="https://api.osv.dev/v1/query", help="a service like OSV's")
    parser.add_argument("--pins", default=str(Path(__file__).parents[1] / "constraints.txt"))
    options, others = parser.parse_known_args()
    if reason := out_of_reach(options.url):
        print(f"audit {'skipped' if options.skip_unreachable else 'failed'}: {reason}")
        return 0 if options.skip_unreachable else 1
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--osv-url", options.url]
    command += ["--strict", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    return subprocess.run([*command, "--requirement", options.pins, *others]).returncode


if __name__ == "__main__":
    sys.exit(main())
