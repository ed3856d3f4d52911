"""ONNX Runtime and OpenVINO give what torch gives, from files inside the model or from an export."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file, save_file

from rerankers import RerankRequest, StageClock, create
from rerankers.encoders.encoder import Encoder
from rerankers.encoders.runtimes.openvino import import_openvino
from rerankers.encoders.store import EmbeddingStore
from rerankers.errors import InputError, MissingExtraError, ModelError
from rerankers.methods.runtimes import RuntimeOptions

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY = "how long do honey bees live in winter"
PASSAGES = [
    "Worker bees born in autumn live for four to six months.",
    "Summer workers wear out within six weeks.",
    "",
    "Honey keeps for years if it is stored dry and closed. " * 40,
    "A queen may lay eggs for three to five years. " * 3,
    "Winter tyres must be fitted from November to March.",
]
EXACT = 1e-5


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, tiny_runtime_encoder: str) -> Path:
    """Return the tiny encoder with the files of both runtimes."""
    openvino = import_openvino()
    folder = tmp_path_factory.mktemp("shipped") / "encoder"
    shutil.copytree(tiny_runtime_encoder, folder)
    model = openvino.Core().read_model(str(folder / "onnx" / "model.onnx"))
    openvino.save_model(model, str(folder / "openvino" / "openvino_model.xml"), compress_to_fp16=False)
    return folder


@pytest.fixture
def changed(tmp_path: Path, shipped: Path) -> Path:
    """Return a copy of the encoder, to be changed."""
    return Path(shutil.copytree(shipped, tmp_path / "encoder"))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache folder of this test."""
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def encoder(folder: Path, backend: str = "torch", **options: Any) -> Encoder:
    runtime = RuntimeOptions(backend=backend, **options)
    return Encoder(str(folder), device="cpu", runtime=runtime)


@pytest.mark.parametrize(
    ("backend", "file"),
    [("onnx", None), ("openvino", None), ("openvino", "onnx/model.onnx")],
)
def test_a_runtime_gives_the_vectors_of_torch(shipped: Path, backend: str, file: str | None) -> None:
    plain, other = encoder(shipped), encoder(shipped, backend, model_file=file)
    expected, cut = plain.encode_and_cut(PASSAGES)
    vectors, others_cut = other.encode_and_cut(PASSAGES)
    assert torch.allclose(vectors, expected, atol=EXACT, rtol=0)
    assert others_cut == cut == [3]
    assert other.precision is not None
    assert other.precision.difference <= EXACT
    assert not other.notice
    assert plain.precision is None
    default = {"onnx": "onnx/model.onnx", "openvino": "openvino/openvino_model.xml"}[backend]
    described = other.describe()
    assert (described["backend"], described["model_file"]) == (backend, file or default)
    assert described["precision"] == "float32"


def test_openvino_is_imported_without_its_telemetry(shipped: Path) -> None:
    encoder(shipped, "openvino")
    assert "openvino" in sys.modules
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]


def test_stored_embeddings_are_those_of_one_backend(shipped: Path, tmp_path: Path) -> None:
    encoders = [encoder(shipped), encoder(shipped, "onnx"), encoder(shipped, "openvino")]
    stores = {EmbeddingStore(tmp_path, loaded.describe(), loaded.dimension).folder for loaded in encoders}
    assert len(stores) == 3


def test_pe_rank_reads_embeddings_of_each_backend_alike_and_stores_them_apart(
    shipped: Path,
    tiny_llm: str,
    tmp_path: Path,
    clock: StageClock,
    make_request: Callable[..., RerankRequest],
) -> None:
    orders: list[tuple[str, ...]] = []
    records: list[Any] = []
    for backend in ("torch", "onnx", "openvino"):
        options = {"model": tiny_llm, "encoder": str(shipped), "encoder_backend": backend, "device": "cpu"}
        reranker = create("pe-rank", {**options, "embeddings": "precomputed", "store": tmp_path})
        orders.append(reranker.rerank([make_request(QUERY, PASSAGES)], clock)[0].doc_ids)
        records.append(reranker.describe()["encoder"])
    assert orders[0] == orders[1] == orders[2]
    assert [record.get("backend") for record in records] == [None, "onnx", "openvino"]
    assert all(record["largest_difference"] <= EXACT for record in records[1:])
    assert len(list(tmp_path.glob("*/meta.json"))) == 3


@pytest.mark.usefixtures("own_cache")
def test_weights_from_elsewhere_are_exported_although_the_model_ships_a_file(shipped: Path) -> None:
    weights = load_file(shipped / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"] *= -1
    plain, other = (
        Encoder(str(shipped), device="cpu", weights=weights, runtime=RuntimeOptions(backend=backend))
        for backend in ("torch", "onnx")
    )
    assert other.describe()["model_file"] == "export"
    assert torch.allclose(other.encode(PASSAGES), plain.encode(PASSAGES), atol=EXACT, rtol=0)


def test_an_export_is_made_once_and_gives_the_scores_of_torch(
    tiny_classifier: str, own_cache: Path, clock: StageClock, make_request: Callable[..., RerankRequest]
) -> None:
    def ranked(**options: Any) -> tuple[dict[str, float], dict[str, Any]]:
        built = create("cross-encoder", {"model": tiny_classifier, "device": "cpu", **options})
        (ranking,) = built.rerank([make_request(QUERY, PASSAGES)], clock)
        return dict(zip(ranking.doc_ids, ranking.scores, strict=True)), built.describe()

    expected, plain = ranked()
    assert "backend" not in plain
    scores, described = ranked(backend="onnx")
    assert scores == pytest.approx(expected, abs=EXACT)
    assert (described["model_file"], described["precision"]) == ("export", "float32")
    assert described["largest_difference"] <= EXACT
    assert "notice" not in described
    (export,) = (own_cache / "runtimes").iterdir()
    assert b".py" not in export.read_bytes()  # no paths of the machine that wrote it
    written = export.stat().st_mtime_ns

    scores, described = ranked(backend="openvino")
    assert scores == pytest.approx(expected, abs=EXACT)
    assert described["backend"] == "openvino"

    scores, described = ranked(backend="onnx", quantization="int8")
    assert scores != pytest.approx(expected, abs=1e-3)
    assert scores == pytest.approx(expected, abs=0.2)
    assert described["precision"] == "int8"
    assert 1e-3 < described["largest_difference"] < 0.2
    assert "int8" in described["notice"]
    assert export.stat().st_mtime_ns == written
    assert len(list((own_cache / "runtimes").iterdir())) == 2


def test_a_file_of_other_weights_is_refused(changed: Path) -> None:
    weights = load_file(changed / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    save_file({**weights, name: -weights[name]}, changed / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"onnx/model.onnx in float32 differs .* other weights"):
        encoder(changed, "onnx")


def test_a_file_that_is_missing_is_named(changed: Path) -> None:
    with pytest.raises(ModelError, match=r"has no file 'onnx/other.onnx'"):
        encoder(changed, "onnx", model_file="onnx/other.onnx")
    (changed / "openvino" / "openvino_model.bin").unlink()
    with pytest.raises(
        ModelError, match=r"openvino_model.xml: its weights 'openvino_model.bin' are not beside"
    ):
        encoder(changed, "openvino")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"<html><body>Not found</body></html>", "HTML"),
        (b"no model at all", "no ONNX model"),
    ],
)
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_file_that_holds_no_model_is_refused(
    changed: Path, content: bytes, reason: str, backend: str
) -> None:
    (changed / "onnx" / "model.onnx").write_bytes(content)
    with pytest.raises((InputError, ModelError), match=reason) as caught:
        encoder(changed, backend, model_file="onnx/model.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("../../secret.bin", "which is not beside it"),
        ("/etc/hostname", "which is not beside it"),
        ("absent.bin", "are not beside it"),
    ],
)
def test_weights_outside_the_model_are_refused(changed: Path, location: str, reason: str) -> None:
    (changed.parent / "secret.bin").write_bytes(bytes(4096))
    path = changed / "onnx" / "model.onnx"
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=reason):
        encoder(changed, "onnx")


def test_a_link_out_of_the_model_is_refused(changed: Path, tmp_path: Path) -> None:
    path = changed / "onnx" / "model.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ModelError, match=r"a link to .* outside the folder"):
        encoder(changed, "onnx")


def test_a_network_of_another_kind_is_refused(changed: Path) -> None:
    path = changed / "onnx" / "model.onnx"
    model = onnx.load(path)
    model.graph.output[0].name = "pooled"
    model.graph.node.append(helper.make_node("Identity", ["last_hidden_state"], ["pooled"]))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"gives the outputs pooled, not last_hidden_state"):
        encoder(changed, "onnx")
    model.graph.input[0].name = "pixel_values"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"cannot load it|takes the inputs pixel_values"):
        encoder(changed, "onnx")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model_file": "onnx/model.onnx"}, "torch does not read it"),
        ({"quantization": "int8"}, "torch does not read it"),
        ({"backend": "onnx", "device": "cuda"}, "does not have it. Set device to auto or cpu"),
        ({"backend": "onnx", "dtype": "bfloat16"}, "does not have it. Set dtype to auto or float32"),
        ({"backend": "openvino", "attention": "sdpa"}, "does not have it. Set attention to auto"),
        ({"backend": "openvino", "quantization": "int8"}, "only an export for backend onnx"),
        ({"backend": "onnx", "quantization": "int8", "model_file": "a.onnx"}, "leave model_file out"),
        ({"backend": "onnx", "model_file": "../model.onnx"}, "outside the model"),
        ({"backend": "onnx", "model_file": "/model.onnx"}, "outside the model"),
        ({"backend": "onnx", "model_file": "model.xml"}, "does not end in .onnx"),
    ],
)
@pytest.mark.parametrize("method", ["embedding", "cross-encoder"])
def test_options_that_no_backend_takes_are_refused(method: str, options: dict[str, str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        create(method, {"model": "org/model", **options})


@pytest.mark.parametrize(("backend", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_package_is_named_by_its_extra(
    shipped: Path, backend: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"rerankbench\[{backend}\]"):
        encoder(shipped, backend)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bfloat16_is_labelled_with_its_difference_to_float32(shipped: Path, backend: str) -> None:
    options = {"model": str(shipped), "backend": backend, "dtype": "bfloat16", "device": "cpu"}
    described = create("embedding", options).describe()
    assert described["dtype"] == "bfloat16"
    assert 0 < float(str(described["largest_difference"])) < 0.05
    assert "bfloat16" in str(described["notice"])


def test_a_cross_encoder_in_bfloat16_is_labelled_with_its_difference(
    tiny_classifier: str, clock: StageClock, make_request: Callable[..., RerankRequest]
) -> None:
    scores = []
    for dtype in ("float32", "bfloat16"):
        made = create("cross-encoder", {"model": tiny_classifier, "dtype": dtype, "device": "cpu"})
        (ranking,) = made.rerank([make_request(QUERY, PASSAGES)], clock)
        scores.append(dict(zip(ranking.doc_ids, ranking.scores, strict=True)))
    assert scores[1] == pytest.approx(scores[0], abs=0.1)
    assert scores[1] != pytest.approx(scores[0], abs=1e-6)
    assert 0 < float(str(made.describe()["largest_difference"])) < 0.1
    assert "bfloat16" in str(made.describe()["notice"])
