"""Every error this project raises on purpose; each message is one line that says what to do next.

RerankbenchError
├── InputError         a file or an option is wrong               exit status 2
│   ├── UnknownNameError   a name nobody registered, with near misses
│   └── OptionError        an option of a reranker is missing or not allowed
├── MissingExtraError  an optional dependency is not installed    exit status 2
├── ModelError         weights or a checkpoint cannot be used     exit status 1
├── BackendError       an LLM endpoint cannot be used             exit status 1
└── StoreError         a result folder cannot be used             exit status 1
    └── DamagedError       a part of it that the same run makes again
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, ClassVar

from rerankers.text.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class RerankbenchError(Exception):
    """Base of the tree; the command line prints it as one line and leaves with `exit_status`."""

    exit_status: ClassVar[int] = 1


class InputError(RerankbenchError):
    """A file or an option is wrong: `file:line: what is wrong and what to do`."""

    exit_status = 2

    @classmethod
    def at(cls, path: Path | str, line: int | None, reason: str) -> InputError:
        """Point to a line (1-based) of a file, or to the file as a whole when `line` is None."""
        return cls(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")


class UnknownNameError(InputError):
    """A name that nobody registered; the message offers near misses."""

    def __init__(self, kind: str, name: str, names: Iterable[str]) -> None:
        names = sorted(names)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class OptionError(InputError):
    """An option of a reranker is missing, or its value is not allowed; `option` names it."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


class MissingExtraError(RerankbenchError):
    """An optional dependency is not installed; the message gives the command that installs it."""

    exit_status = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs the extra {extra!r}: python -m pip install "rerankbench[{extra}]"')


class ModelError(RerankbenchError):
    """Weights are missing, surplus, of the wrong shape, or gave an unusable output."""


class BackendError(RerankbenchError):
    """An LLM endpoint refused, failed or answered in a form nobody can use.

    Attributes:
        finished: rankings of the same call that were finished, and paid for, before it failed.
    """

    finished: Sequence[Any] = ()


class StoreError(RerankbenchError):
    """A result folder is damaged, in use, or of an unknown version."""


class DamagedError(StoreError):
    """A cell or a candidate set of a result folder is damaged; the same run makes it again."""


def is_failure(error: BaseException) -> bool:
    """Return whether something failed, as opposed to somebody ending the program.

    A panic in a tokenizer's compiled code is a failure, but not an `Exception`.
    """
    is_cancelled = type(error).__module__ == "asyncio.exceptions"  # a deadline passed, or the program ends
    return not (is_cancelled or isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit))


def reason_of(error: BaseException) -> str:
    """Return the first line of an error, without the advice to load weights in an unsafe way."""
    text = redacted(str(error).strip())
    if "weights_only" in text or "Weights only load failed" in text:
        return "the file holds more than plain tensors, which is never unpickled; use a safetensors file"
    if isinstance(error, KeyError):  # whose text is the bare key
        return f"there is no entry {text}"[:300]
    return (text.splitlines() or [type(error).__name__])[0][:300]
