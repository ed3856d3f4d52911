"""`auto` takes what is there; what is not there is refused by name."""

from __future__ import annotations

import pytest
import torch

from rerankers.errors import InputError
from rerankers.models.devices import resolve_device, resolve_dtype


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_cuda_auto_is_the_cpu_and_cuda_is_refused() -> None:
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(InputError, match=r"device 'cuda:1' was asked for .* use device: cpu"):
        resolve_device("cuda:1")


def test_half_precision_is_chosen_on_a_gpu_and_on_request() -> None:
    assert resolve_dtype("auto", torch.device("cpu")) == torch.float32
    assert resolve_dtype("auto", torch.device("cuda")) == torch.bfloat16
    assert resolve_dtype("float16", torch.device("cpu")) == torch.float16
