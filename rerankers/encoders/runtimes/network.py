"""The replacement of a network that torch has loaded by a runtime's, and a comparison of the two."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.utils.generic import ModelOutput

from rerankers.encoders.precision import PROBES, Precision, largest_difference
from rerankers.encoders.runtimes.export import exported, input_names
from rerankers.encoders.runtimes.model_file import RuntimeFile, find_runtime_file
from rerankers.errors import MissingExtraError, ModelError
from rerankers.models.remote_code import loading
from rerankers.models.side_by_side import threads_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.encoders.runtimes.session import Session
    from rerankers.methods.runtimes import RuntimeOptions
    from rerankers.models.locate import ModelFiles

_SHIPPED = {"onnx": "onnx/model.onnx", "openvino": "openvino/openvino_model.xml"}
_PACKAGES = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "openvino": ("onnx", "onnxscript", "openvino")}
_ALLOWED = {"float32": 1e-3}  # of the length of torch's outputs as one vector
_ALLOWED_OTHERS = 0.5


class RuntimeNetwork(nn.Module):
    """A network that a runtime computes, called as the model of transformers that it replaces.

    Args:
        session: the network, loaded by a runtime.
        config: the configuration of the model that it replaces.
        output: the name of its output: `last_hidden_state` or `logits`.
    """

    def __init__(self, session: Session, config: Any, output: str) -> None:
        super().__init__()
        self.config = config
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self._session, self._output = session, output

    def forward(self, **features: Any) -> ModelOutput:
        """Return the runtime's output for `input_ids`, `attention_mask` and `token_type_ids`.

        They are (texts, tokens) each; a missing one counts as zeros.
        """
        ids = features["input_ids"]
        inputs = {
            name: (torch.zeros_like(ids) if features.get(name) is None else features[name]).numpy()
            for name in self._session.inputs
        }
        output = torch.from_numpy(self._session.run(inputs))
        return ModelOutput({self._output: output})  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class InstalledRuntime:
    """The record of a runtime that has replaced torch.

    Attributes:
        described: the record's entry: backend, runtime, file with digest, and precision.
        precision: its precision, and the largest difference of an output to torch's.
    """

    described: dict[str, object]
    precision: Precision


def install(
    transformers: Sequence[Any],
    files: ModelFiles,
    options: RuntimeOptions,
    outputs: Callable[[Sequence[str]], torch.Tensor],
    *,
    has_own_weights: bool = True,
) -> InstalledRuntime:
    """Replace the network inside a transformer module by a runtime's, and return its record.

    Args:
        transformers: the model's one transformer module, whose `model` is one of transformers, on the CPU in
            float32.
        files: the location of the model.
        options: the backend, its file and its quantization; `dtype` is read for OpenVINO.
        outputs: computes the model's outputs for texts, as float32; it is called before and after.
        has_own_weights: whether the weights are those of the model's files. Others are exported.

    Raises:
        MissingExtraError: the backend's packages are not installed.
        ModelError: there are several transformers, the file is missing or does not load, the network cannot
            be exported, or the file belongs to other weights.
    """
    backend, name = options.backend, files.name
    if any(find_spec(package) is None for package in _PACKAGES[backend]):
        raise MissingExtraError(f"backend {backend!r}", backend)
    if len(transformers) != 1:
        raise ModelError(
            f"{name!r} has {len(transformers)} transformers; the backend {backend} runs one. "
            "Use backend: torch."
        )
    (transformer,) = transformers
    output = _output_of(transformer, name, backend)
    before = outputs(PROBES)
    file = _file_of(transformer, files, options, output, has_own_weights)
    session = _session(file, options, output)
    transformer.model = RuntimeNetwork(session, transformer.model.config, output)
    with loading("model", name):
        precision = _compared(name, session, before, outputs(PROBES))
    described: dict[str, object] = {
        "backend": backend,
        "runtime": session.runtime,
        "model_file": session.file.name,
        "model_file_digest": session.file.digest,
        "precision": session.precision,
        "dtype": session.precision,
        "attention": None,
    }
    return InstalledRuntime(described, precision)


def _session(file: RuntimeFile, options: RuntimeOptions, output: str) -> Session:
    """Return a network loaded from a file by the runtime that the options name.

    It has threads for as many calls at once as `side_by_side` makes.

    Args:
        file: the checked file.
        options: the backend, and for OpenVINO the dtype.
        output: `last_hidden_state` or `logits`.
    """
    calls = threads_for(torch.device("cpu"), 1 << 20)
    threads = max(1, torch.get_num_threads() // calls)
    if options.backend == "onnx":
        from rerankers.encoders.runtimes.onnx import ONNXSession

        return ONNXSession(file, output, threads)
    from rerankers.encoders.runtimes.openvino import OpenVINOSession

    is_half = getattr(options, "dtype", "auto") == "bfloat16"
    return OpenVINOSession(file, output, threads, calls, "bfloat16" if is_half else "float32")


def _compared(name: str, session: Session, before: torch.Tensor, after: torch.Tensor) -> Precision:
    """Return a runtime's precision, with the largest difference of its outputs to torch's.

    Args:
        name: the model's name, for errors.
        session: the runtime's network.
        before: torch's outputs.
        after: the runtime's, of the same shape.

    Raises:
        ModelError: the outputs differ so much that they are those of another model.
    """
    relative = float((after - before).norm() / before.norm().clamp(min=1e-12))
    allowed = _ALLOWED.get(session.precision, _ALLOWED_OTHERS)
    if not relative <= allowed:
        raise ModelError(
            f"{name!r}: {session.file.name} in {session.precision} differs from torch by {relative:.2g} of "
            f"the outputs; allowed is {allowed:g}. It belongs to other weights: name another model_file."
        )
    return Precision(session.precision, largest_difference(before, after))


def _output_of(transformer: Any, name: str, backend: str) -> str:
    """Return the name of the output that a transformer module reads from its network.

    Raises:
        ModelError: it reads something other than hidden states or logits.
    """
    modes = getattr(transformer, "modality_config", {"text": {"method_output_name": "last_hidden_state"}})
    mode = modes.get("text", {})
    output = mode.get("method_output_name")
    output = output[0] if isinstance(output, tuple | list) and len(output) == 1 else output
    if mode.get("method", "forward") != "forward" or output not in ("last_hidden_state", "logits"):
        raise ModelError(
            f"{name!r} reads {output!r} of its network; the backend {backend} gives hidden states or a "
            "classifier's logits. Use backend: torch."
        )
    return str(output)


def _file_of(
    transformer: Any, files: ModelFiles, options: RuntimeOptions, output: str, has_own_weights: bool
) -> RuntimeFile:
    """Return the file that the options name; failing that, the one with the model's weights, else an export.

    Raises:
        ModelError: the model lacks the file that the options name.
    """
    if options.model_file is not None:
        file = find_runtime_file(files, options.model_file)
        if file is None:
            raise ModelError(f"{files.name!r} has no file {options.model_file!r}. Name one that it has.")
        return file
    if options.quantization == "none" and has_own_weights:
        file = find_runtime_file(files, _SHIPPED[options.backend])
        if file is not None:
            return file
    inputs = input_names(transformer.model, transformer.tokenizer)
    return exported(transformer.model, files.name, inputs, output, options.quantization)
