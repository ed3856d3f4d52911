"""Options of methods whose transformer may run in ONNX Runtime or OpenVINO instead of torch, on a CPU."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from rerankers.errors import InputError
from rerankers.options import MethodOptions

BackendName = Literal["torch", "onnx", "openvino"]
Quantization = Literal["none", "int8"]

_SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".onnx")}


class RuntimeOptions(MethodOptions):
    """The library that computes a transformer's output, and the file that it reads."""

    backend: BackendName = "torch"
    """Library that runs the transformer: `torch`, or on a CPU `onnx` (ONNX Runtime) or `openvino`, each with
    the extra of its name. Tokenizing, pooling and normalizing are the same."""

    model_file: str | None = None
    """File that the backend reads, inside the model, such as `onnx/model_qint8_avx512_vnni.onnx`. Null is
    `onnx/model.onnx` or `openvino/openvino_model.xml` where the model has it, else an export of the weights,
    made once and kept in the cache folder."""

    quantization: Quantization = "none"
    """`int8` quantizes the matrix products of an export, for the backend `onnx`. Scores change; the largest
    difference to float32 is recorded."""

    @property
    def may_use_gpu(self) -> bool:
        """True if the method computes in this process, on a device that may be a GPU."""
        return self.backend == "torch" and super().may_use_gpu

    def check(self) -> None:
        """Refuse options that the backend does not take.

        Raises:
            InputError: a file or quantization without a backend that reads it, or a device, dtype or
                attention that only torch has.
        """
        super().check()
        if self.backend == "torch":
            for option, value in (("model_file", self.model_file), ("quantization", self.quantization)):
                if value not in (None, "none"):
                    raise InputError(f"{option} {value!r}: torch does not read it. Set backend: onnx.")
            return
        self._check_torch_only()
        if self.quantization != "none" and (self.backend != "onnx" or self.model_file is not None):
            raise InputError(
                f"quantization {self.quantization!r}: only an export for backend onnx is quantized. Set "
                "backend: onnx and leave model_file out."
            )
        if self.model_file is not None:
            _check_name(self.model_file, _SUFFIXES[self.backend])

    def _check_torch_only(self) -> None:
        dtypes = ("auto", "float32", "bfloat16") if self.backend == "openvino" else ("auto", "float32")
        allowed = {"device": ("auto", "cpu"), "attention": ("auto",), "dtype": dtypes}
        for option, values in allowed.items():
            value = getattr(self, option, "auto")
            if value not in values:
                raise InputError(
                    f"{option} {value!r}: the backend {self.backend} does not have it. Set {option} to "
                    f"{' or '.join(values)}, or backend: torch."
                )


def _check_name(name: str, suffixes: tuple[str, ...]) -> None:
    """Refuse a file name that leads out of the model, or names another kind of file."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise InputError(f"model_file {name!r} lies outside the model. Name a file inside it.")
    if path.suffix not in suffixes:
        raise InputError(f"model_file {name!r} does not end in {' or '.join(suffixes)}. Name such a file.")
