"""The interface of a runtime: a function from arrays of token ids to one array, and facts for the record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from rerankers.encoders.runtimes.model_file import RuntimeFile

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""Names of the inputs that are given to a network, (texts, tokens) each."""

_OUTPUTS = {"last_hidden_state": ("last_hidden_state", "token_embeddings"), "logits": ("logits",)}


class Session(ABC):
    """A network that a runtime has loaded; several threads may call it at once.

    Attributes:
        file: the file that it was loaded from.
        inputs: the names of its inputs.
        precision: the type of its largest weights: `float32`, `float16`, `bfloat16` or `int8`.
        runtime: name and version of the library.
    """

    file: RuntimeFile
    inputs: tuple[str, ...]
    precision: str
    runtime: str

    @abstractmethod
    def run(self, inputs: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        """Return the network's output for inputs by name, (texts, tokens) each."""


def check_inputs(path: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a network's inputs, checked.

    Args:
        path: the file, for errors.
        names: the names.

    Raises:
        ModelError: an input is not one of `INPUTS`, or token ids are not among them.
    """
    strange = [name for name in names if name not in INPUTS]
    if strange or "input_ids" not in names:
        raise ModelError(
            f"{path}: takes the inputs {', '.join(names)}; allowed are {', '.join(INPUTS)}. "
            "Name another model_file."
        )
    return tuple(names)


def choose_output(path: Any, names: Sequence[str], wanted: str) -> str:
    """Return the name of a network's output that holds the wanted values.

    Args:
        path: the file, for errors.
        names: the names of all outputs.
        wanted: `last_hidden_state` or `logits`.

    Raises:
        ModelError: there is no such output.
    """
    for name in _OUTPUTS[wanted]:
        if name in names:
            return name
    raise ModelError(
        f"{path}: gives the outputs {', '.join(names)}, not {wanted}. "
        "Name a model_file of this kind of model."
    )
