"""Networks run by ONNX Runtime on a CPU."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rerankers.encoders.runtimes.session import Session, check_inputs, choose_output
from rerankers.errors import ModelError, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from rerankers.encoders.runtimes.model_file import RuntimeFile

_PRECISIONS = {
    "FLOAT": "float32",
    "FLOAT16": "float16",
    "BFLOAT16": "bfloat16",
    "INT8": "int8",
    "UINT8": "int8",
}


class ONNXSession(Session):
    """A network that ONNX Runtime runs.

    Args:
        file: a checked `.onnx` file.
        output: `last_hidden_state` or `logits`.
        threads: threads of one call; several calls at once have as many each.

    Raises:
        ModelError: ONNX Runtime does not load it, or it has other inputs and outputs.
    """

    def __init__(self, file: RuntimeFile, output: str, threads: int) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
        settings.log_severity_level = 3  # warnings are about the graph, which is not ours to change
        try:
            self._session = onnxruntime.InferenceSession(
                str(file.path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has a dozen kinds for one cause: a file it cannot run
            raise ModelError(f"{file.path}: ONNX Runtime cannot load it: {reason_of(error)}.") from error
        self.file = file
        self.inputs = check_inputs(file.path, [node.name for node in self._session.get_inputs()])
        names = [node.name for node in self._session.get_outputs()]
        self._output = choose_output(file.path, names, output)
        self.precision = precision_of(file)
        self.runtime = f"onnxruntime {onnxruntime.__version__}"

    def run(self, inputs: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        """Return the network's output for inputs by name, (texts, tokens) each."""
        result: npt.NDArray[np.float32] = self._session.run([self._output], dict(inputs))[0]
        return result


def precision_of(file: RuntimeFile) -> str:
    """Return the type of most values in the matrices of an ONNX file, embeddings left out, such as `int8`."""
    import onnx

    sizes: Counter[str] = Counter()
    for tensor in onnx.load(file.path, load_external_data=False).graph.initializer:
        name = onnx.TensorProto.DataType.Name(tensor.data_type)
        if name in _PRECISIONS and len(tensor.dims) > 1 and "embedding" not in tensor.name:
            size = 1
            for dimension in tensor.dims:
                size *= dimension
            sizes[_PRECISIONS[name]] += size
    return sizes.most_common(1)[0][0] if sizes else "float32"
