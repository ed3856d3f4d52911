"""Exports of a loaded network to ONNX, each made once and kept in the cache folder.

A file is named by the digest of everything that it depends on: weights, configuration, inputs, output,
quantization, and the versions of the packages that write it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import tempfile
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rerankers.encoders.description import digest_weights
from rerankers.encoders.runtimes.model_file import RuntimeFile
from rerankers.encoders.runtimes.session import INPUTS
from rerankers.errors import ModelError, is_failure, reason_of
from rerankers.files.fingerprints import file_digest
from rerankers.files.paths import cache_folder
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerankers.methods.runtimes import Quantization

_LARGEST = 2**31 - 1  # bytes of a protobuf message
_FORM = 1  # to be raised when this module writes other files of the same network
_WRITERS = ("torch", "transformers", "onnxscript")
_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir", "root")


def exported(
    network: Any, name: str, inputs: Sequence[str], output: str, quantization: Quantization
) -> RuntimeFile:
    """Return the ONNX file of a network, exported now unless the cache has it.

    Args:
        network: a model of transformers on the CPU, in float32 and in evaluation mode; its attention becomes
            eager.
        name: the model's name, for errors.
        inputs: names of the inputs that the export takes, of `INPUTS`.
        output: the attribute of the network's output that the export gives.
        quantization: `int8` quantizes matrix products with constant weights, one scale an output channel;
            activations are quantized at run time.

    Raises:
        ModelError: the network cannot be exported, or its weights take more than 2 GB.
    """
    weights = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    if weights > _LARGEST:
        raise ModelError(
            f"{name!r} has weights of {weights} bytes; an export holds at most {_LARGEST}. "
            "Use backend: torch."
        )
    key = _key(network, inputs, output)
    path = cache_folder() / "runtimes" / f"{key}.onnx"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, _export(network, name, inputs, output))
    if quantization == "int8":
        quantized = path.with_name(f"{key}-int8-{version('onnxruntime')}.onnx")
        if not quantized.is_file():
            replace_file(quantized, _quantized(path))
        path = quantized
    return RuntimeFile(path, "export", f"sha256:{file_digest(path)}")


def input_names(network: Any, tokenizer: Any) -> list[str]:
    """Return the names of the inputs that a tokenizer gives and a network reads, of `INPUTS`."""
    reads = inspect.signature(network.forward).parameters
    gives = {*getattr(tokenizer, "model_input_names", ()), "input_ids", "attention_mask"}
    return [name for name in INPUTS if name in reads and name in gives]


def _key(network: Any, inputs: Sequence[str], output: str) -> str:
    """Return the digest of everything that an export depends on, in 32 hex digits."""
    config = network.config.to_dict() if hasattr(network.config, "to_dict") else repr(network.config)
    facts = {
        "form": _FORM,
        "architecture": type(network).__qualname__,
        "config": config,
        "weights": digest_weights(chain(network.named_parameters(), network.named_buffers())),
        "inputs": list(inputs),
        "output": output,
        "writers": {package: version(package) for package in _WRITERS},
    }
    stated = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(stated.encode()).hexdigest()[:32]


class _OneOutput(torch.nn.Module):
    """A network that takes its inputs by position and returns one of its outputs."""

    def __init__(self, network: Any, inputs: Sequence[str], output: str) -> None:
        super().__init__()
        self._network, self._inputs, self._output = network, tuple(inputs), output

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the chosen output of the network for inputs in the order of their names."""
        outputs = self._network(**dict(zip(self._inputs, inputs, strict=True)))
        result: torch.Tensor = getattr(outputs, self._output)
        return result


def _export(network: Any, name: str, inputs: Sequence[str], output: str) -> bytes:
    """Return the content of an ONNX file of a network, for any number of texts and tokens.

    Raises:
        ModelError: torch cannot export the network.
    """
    if hasattr(network, "set_attn_implementation"):
        network.set_attn_implementation("eager")  # half as many operators as sdpa has as a graph
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 5:] = 0  # a mask of ones alone may be left out of the graph
    example = {"input_ids": torch.ones_like(mask), "attention_mask": mask, "token_type_ids": 1 - mask}
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    try:
        with _quiet(), torch.inference_mode(False), torch.no_grad():
            program = torch.onnx.export(
                _OneOutput(network, inputs, output).eval(),
                tuple(example[each] for each in inputs),
                dynamic_shapes=((sizes,) * len(inputs),),
                input_names=list(inputs),
                output_names=[output],
                dynamo=True,
                verbose=False,
            )
            content = _without_notes(program.model_proto)  # type: ignore[union-attr]
    except BaseException as error:
        if not is_failure(error):
            raise
        raise ModelError(
            f"{name!r}: torch cannot export it to ONNX: {reason_of(error)}. Name a model_file, or use "
            "backend: torch."
        ) from error
    return content


def _without_notes(model: Any) -> bytes:
    """Return an ONNX model as bytes, without the exporter's notes, which hold paths of this machine."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *graph.initializer,
    ):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    content: bytes = model.SerializeToString()
    return content


def _quantized(path: Path) -> bytes:
    """Return the content of an ONNX file, its matrix products with constant weights changed to int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=path.parent) as scratch, _quiet():
        target = Path(scratch) / "int8.onnx"
        quantize_dynamic(
            path, target, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
        )
        return target.read_bytes()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings and log lines of the exporters inside the `with` block."""
    loggers = [logging.getLogger(name if name != "root" else None) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
