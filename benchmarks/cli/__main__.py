"""Runs the command line: `python -m benchmarks.cli`."""

from benchmarks.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
