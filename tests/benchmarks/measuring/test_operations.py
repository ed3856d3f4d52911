"""FLOPs and bytes are what arithmetic says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.measuring.operations import CountingClock, count_operations
from benchmarks.measuring.utilisation import cell_utilisation, peak_flops_per_second, utilisation
from benchmarks.results.record import Operations
from benchmarks.results.store import read_results
from rerankers.baselines import Reverse
from rerankers.methods.baselines import ReverseOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rerankers.interface import Ranking, RerankRequest
    from rerankers.stages import StageClock

FLOAT = 4  # bytes


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_matrix_product_is_two_operations_an_element_and_reads_and_writes_each_once(
    mode: Callable[[], torch.no_grad],
) -> None:
    layer = torch.nn.Linear(5, 7, bias=False)
    clock = CountingClock()
    with mode(), clock.stage("forward"):
        layer(torch.ones(3, 5))
    assert clock.flops == {"forward": 2 * 3 * 5 * 7}
    element_count, product = 3 * 5, 3 * 5 + 5 * 7 + 3 * 7
    assert clock.bytes["forward"] == FLOAT * (element_count + product)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_attention_is_counted_on_a_cpu_too(mode: Callable[[], torch.no_grad]) -> None:
    heads, length, size = 2, 16, 8
    query = torch.randn(1, heads, length, size)
    clock = CountingClock()
    with mode(), clock.stage("prefill"):
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
    assert clock.flops == {"prefill": 2 * (2 * heads * length * length * size)}


def test_views_move_nothing_and_a_lookup_reads_what_it_returns() -> None:
    table = torch.nn.Embedding(1000, 4)
    ids = torch.arange(3)
    clock = CountingClock()
    with torch.no_grad(), clock.stage("embed"):
        table(ids).view(2, 6).transpose(0, 1)
    assert clock.flops == {}
    assert clock.bytes == {"embed": 2 * 3 * 4 * FLOAT}


def test_stages_are_counted_apart_and_add_up() -> None:
    a = torch.ones(4, 4)
    clock = CountingClock()
    for stage in ("prefill", "decode", "decode"):
        with clock.stage(stage):
            a @ a
    assert clock.flops == {"prefill": 2 * 4**3, "decode": 2 * 2 * 4**3}


def test_what_torch_does_nothing_for_has_no_operations(make_request: Callable[..., RerankRequest]) -> None:
    counted = count_operations(Reverse(), [make_request("q", ["a", "b"])])
    assert counted == Operations(queries=1, flops={}, bytes={})


@pytest.fixture
def _two_threads() -> Iterator[None]:
    """Torch uses two threads, so that batches are split over cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_two_threads")
def test_operations_are_counted_when_asked_for_and_measure_nothing_again(
    write_experiment: Callable[..., Path], tmp_path: Path, tiny_classifier: str
) -> None:
    system = {"name": "cross-encoder", "options": {"model": tiny_classifier}}
    path = write_experiment(rerankers=system, protocol={"warmup": 0})
    experiment, config = load_experiment(path)
    run(experiment, config, tmp_path / "out")
    (before,) = read_results(tmp_path / "out").cells
    assert before.record.operations is None
    for _ in range(2):
        experiment, config = load_experiment(path, ["count_operations=2"])
        assert run(experiment, config, tmp_path / "out").exit_status == 0
    (after,) = read_results(tmp_path / "out").cells
    assert after.rows == before.rows
    counted = after.record.operations
    assert counted is not None
    assert counted.queries == 2
    assert set(counted.flops) == {"forward"}  # a stage that only moves data has bytes
    assert counted.flops["forward"] > 0
    assert counted.bytes["forward"] > 0


def test_a_known_gpus_peak_is_found_by_its_drivers_name() -> None:
    assert peak_flops_per_second("NVIDIA H100 80GB HBM3", "bfloat16") == pytest.approx(989.4e12)
    assert peak_flops_per_second("NVIDIA L40S", "float32") == pytest.approx(91.6e12)
    assert peak_flops_per_second("NVIDIA L4", "float32") == pytest.approx(30.3e12)
    assert peak_flops_per_second("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16") is None
    assert peak_flops_per_second("NVIDIA H200 NVL", "bfloat16") is None  # less than the H200's
    assert peak_flops_per_second("NVIDIA GeForce RTX 4090 Laptop GPU", "float16") is None
    assert peak_flops_per_second("Tesla T4", "bfloat16") is None  # it has none
    assert peak_flops_per_second("Somebody's GPU", "bfloat16") is None


def test_utilisation_is_the_share_of_the_peak() -> None:
    operations = Operations(queries=2, flops={"prefill": 40, "decode": 6}, bytes={})
    seconds = {"prefill": 0.5, "decode": 3.0, "parse": 1.0}
    assert utilisation(operations, seconds, 100.0) == {
        "prefill": pytest.approx(40 / 2 / 0.5 / 100),
        "decode": pytest.approx(6 / 2 / 3 / 100),
    }


def test_utilisation_of_a_cell_needs_a_count_and_one_gpu_that_is_known(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    run(*load_experiment(write_experiment(rerankers="reverse")), tmp_path / "out")
    (cell,) = read_results(tmp_path / "out").cells
    assert cell_utilisation(cell) == {}
    order = sum(row.stage_seconds["order"] for row in cell.rows) / len(cell.rows)
    one_gpu = {"gpu": [{"model": "NVIDIA H100 80GB HBM3"}]}
    session = cell.record.sessions[0].model_copy(update={"environment": one_gpu})
    changes = {
        "sessions": (session,),
        "operations": Operations(queries=2, flops={"order": 2 * 10**6}, bytes={}),
        "system": cell.record.system.model_copy(update={"described": {"dtype": "bfloat16"}}),
    }
    counted = replace(cell, record=cell.record.model_copy(update=changes))
    assert cell_utilisation(counted) == {"order": pytest.approx(1e6 / order / 989.4e12)}
    elsewhere = cell.record.model_copy(update={**changes, "sessions": (*cell.record.sessions, session)})
    assert cell_utilisation(replace(cell, record=elsewhere)) == {}  # measured with a GPU and without


def test_an_endpoint_is_never_asked_once_more_to_count(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    right = Reverse.rerank

    def counted(self: Reverse, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        calls.append(len(requests))
        return right(self, requests, clock)

    monkeypatch.setattr(Reverse, "rerank", counted)
    monkeypatch.setattr(ReverseOptions, "is_remote", True)
    path = write_experiment(rerankers="reverse", protocol={"warmup": 0})
    for _ in range(2):
        assert run(*load_experiment(path, ["count_operations=2"]), tmp_path / "out").exit_status == 0
    assert calls == [1, 1, 1]  # measured once, and finished
    (cell,) = read_results(tmp_path / "out").cells
    assert cell.record.operations == Operations(queries=0, flops={}, bytes={})
