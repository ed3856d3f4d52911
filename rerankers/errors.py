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
    """The base class of the project's errors.

    The command line prints the message as one line and exits with `exit_status`.
    """

    exit_status: ClassVar[int] = 1


class InputError(RerankbenchError):
    """An error in a file or an option; its message is `file:line: what is wrong and what to do`."""

    exit_status = 2

    @classmethod
    def at(cls, path: Path | str, line: int | None, reason: str) -> InputError:
        """Return an error whose message begins with its place.

        Args:
            path: the file.
            line: the line, counted from 1; None for the file as a whole.
            reason: what is wrong and what to do.
        """
        return cls(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")


class UnknownNameError(InputError):
    """An error for a name that is not registered.

    The message offers near misses, or all names if none is near.

    Args:
        kind: the kind of thing, such as `reranker`.
        name: the unknown name.
        names: the registered names.
    """

    def __init__(self, kind: str, name: str, names: Iterable[str]) -> None:
        names = sorted(names)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class OptionError(InputError):
    """An error for an option of a reranker that is missing or has a value that is not allowed.

    Attributes:
        option: the option's name.
    """

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


class MissingExtraError(RerankbenchError):
    """An error for an optional dependency that is not installed.

    The message gives the command that installs it.

    Args:
        what: the feature that needs it.
        extra: the extra of `pip install rerankbench[extra]`.
    """

    exit_status = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs the extra {extra!r}: python -m pip install "rerankbench[{extra}]"')


class ModelError(RerankbenchError):
    """An error of a model: weights are missing, surplus or of the wrong shape, or its output is unusable."""


class BackendError(RerankbenchError):
    """An error of an LLM endpoint, which refused, failed or sent a response that cannot be parsed.

    Attributes:
        finished: rankings of the same call that were finished, and paid for, before it failed.
    """

    finished: Sequence[Any] = ()


class StoreError(RerankbenchError):
    """An error of a result folder that is damaged, in use, or of an unknown version."""


class DamagedError(StoreError):
    """An error of a damaged cell or candidate set in a result folder; the same run makes it again."""


def is_failure(error: BaseException) -> bool:
    """Return whether an exception is a failure: false for an interrupt, an exit or a cancellation.

    A panic in a tokenizer's compiled code is a failure, but not an `Exception`.
    """
    is_cancelled = type(error).__module__ == "asyncio.exceptions"  # a deadline passed, or the program ends
    return not (is_cancelled or isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit))


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, at most 300 characters, secrets redacted.

    An error without a message gives its class name. Instead of torch's advice about `weights_only`, which is
    to load weights in an unsafe way, the text advises a safetensors file.
    """
    text = redacted(str(error).strip())
    if "weights_only" in text or "Weights only load failed" in text:
        return "the file holds more than plain tensors, which is never unpickled; use a safetensors file"
    if isinstance(error, KeyError):  # whose text is the bare key
        return f"there is no entry {text}"[:300]
    return (text.splitlines() or [type(error).__name__])[0][:300]
