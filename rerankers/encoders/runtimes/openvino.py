"""Networks run by OpenVINO on a CPU."""

from __future__ import annotations

import sys
from collections import Counter
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from rerankers.encoders.runtimes.session import Session, check_inputs, choose_output
from rerankers.errors import ModelError, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from rerankers.encoders.runtimes.model_file import RuntimeFile

_PRECISIONS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8"}


class OpenVINOSession(Session):
    """A network that OpenVINO runs.

    Args:
        file: a checked `.xml` file with its `.bin`, or an `.onnx` file.
        output: `last_hidden_state` or `logits`.
        threads: threads of one call.
        calls: number of calls that run at once.
        dtype: `float32` or `bfloat16`; without it OpenVINO would compute in bfloat16 where the CPU has it.

    Raises:
        ModelError: OpenVINO does not load it, or it has other inputs and outputs.
    """

    def __init__(self, file: RuntimeFile, output: str, threads: int, calls: int, dtype: str) -> None:
        openvino = import_openvino()
        settings = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[dtype],
            "INFERENCE_NUM_THREADS": threads * calls,
            "NUM_STREAMS": calls,
        }
        try:
            model = openvino.Core().read_model(str(file.path))
            self._network = openvino.compile_model(model, "CPU", settings)
        except Exception as error:  # OpenVINO has one kind for all causes: RuntimeError, of many lines
            raise ModelError(f"{file.path}: OpenVINO cannot load it: {reason_of(error)}.") from error
        self.file = file
        self.inputs = check_inputs(file.path, [port.get_any_name() for port in self._network.inputs])
        names = {name: port for port in self._network.outputs for name in port.get_names()}
        self._output = names[choose_output(file.path, sorted(names), output)]
        self.precision = _precision_of(model) if dtype == "float32" else dtype
        self.runtime = f"openvino {version('openvino')}"
        self._requests: SimpleQueue[Any] = SimpleQueue()

    def run(self, inputs: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        """Return the network's output for inputs by name, (texts, tokens) each."""
        try:
            request = self._requests.get_nowait()
        except Empty:
            request = self._network.create_infer_request()
        request.infer(dict(inputs))
        result: npt.NDArray[np.float32] = np.array(request.get_tensor(self._output).data, dtype=np.float32)
        self._requests.put(request)
        return result


def import_openvino() -> Any:
    """Return the package `openvino`, imported without its telemetry.

    That would report the import to a server.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _precision_of(model: Any) -> str:
    """Return the type of most values in a network's matrices, embeddings left out, such as `int8`."""
    sizes: Counter[str] = Counter()
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or "embedding" in node.get_friendly_name():
            continue
        shape, kind = node.get_output_shape(0), node.get_output_element_type(0).get_type_name()
        if len(shape) > 1 and kind in _PRECISIONS:
            sizes[_PRECISIONS[kind]] += int(np.prod(list(shape)))
    return sizes.most_common(1)[0][0] if sizes else "float32"
