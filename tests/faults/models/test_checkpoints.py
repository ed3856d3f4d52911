"""Checkpoints with damaged files: refused in one line that names the model, and no code of theirs is run."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rerankers.encoders.encoder import Encoder
from rerankers.errors import InputError, ModelError
from rerankers.llm.causal import CausalLM
from rerankers.pe_rank.formats.checkpoint import Source, load_checkpoint
from tests.faults.conftest import copy_with, rerank

if TYPE_CHECKING:
    from collections.abc import Callable

trial = settings(settings.get_profile("slow-faults"))

RELEASED = Path(__file__).parents[2] / "golden" / "pe_rank" / "mistral"
JINA = Path(__file__).parents[2] / "golden" / "jina_bert"
PE_RANK = {
    "version": 1,
    "llm": {"model": "./llm"},
    "encoder": {"model": str(RELEASED / "encoder"), "pooling": "mean", "dimension": 32, "max_length": 128},
    "projector": "mlp2x_gelu",
    "training": {"seed": 1},
}
ADAPTER = {"base_model_name_or_path": "unset", "peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none"}


@pytest.fixture(scope="module")
def checkpoint(folder: Path, tiny_llm: str) -> Path:
    """Return a compact checkpoint with its language model inside, an adapter, and the encoder's own files."""
    path = folder / "checkpoint"
    shutil.copytree(tiny_llm, path / "llm")
    torch.manual_seed(0)
    weights = {"0.weight": (64, 32), "0.bias": (64,), "2.weight": (64, 64), "2.bias": (64,)}
    save_file({name: torch.randn(shape) for name, shape in weights.items()}, path / "projector.safetensors")
    query = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    sides = {f"{query}A.weight": torch.zeros(2, 64), f"{query}B.weight": torch.zeros(64, 2)}
    save_file(sides, path / "adapter_model.safetensors")
    (path / "adapter_config.json").write_text(json.dumps({**ADAPTER, "base_model_name_or_path": tiny_llm}))
    (path / "pe_rank.json").write_text(json.dumps(PE_RANK))
    return path


def test_the_checkpoint_is_right_before_it_is_broken(judge: Any, candidates: Path, checkpoint: Path) -> None:
    assert not judge(rerank(candidates, checkpoint), b"")


@pytest.mark.parametrize("member", ["pe_rank.json", "adapter_config.json", "llm/config.json"])
@given(data=st.data())
@trial
def test_wrong_values_in_a_compact_checkpoint_are_refused(
    judge: Any,
    broken: Any,
    dump: Callable[[Any], bytes],
    candidates: Path,
    checkpoint: Path,
    member: str,
    data: Any,
) -> None:
    content = dump(data.draw(broken.value_of(json.loads((checkpoint / member).read_bytes()))))
    target = copy_with(checkpoint, member, content, checkpoint.parent / "changed")
    judge(rerank(candidates, target), content, target, "model", "encoder", "folder")


@pytest.mark.parametrize(
    "member", ["pe_rank.json", "projector.safetensors", "llm/config.json", "llm/tokenizer_config.json"]
)
@given(data=st.data())
@trial
def test_damaged_bytes_in_a_compact_checkpoint_are_refused(
    judge: Any, broken: Any, candidates: Path, checkpoint: Path, member: str, data: Any
) -> None:
    content = data.draw(broken.bytes_of((checkpoint / member).read_bytes()))
    target = copy_with(checkpoint, member, content, checkpoint.parent / "damaged")
    judge(rerank(candidates, target), content, target, "model", "encoder", "folder")


@given(data=st.data())
@trial
def test_wrong_values_in_a_released_config_are_refused(
    judge: Any, broken: Any, dump: Callable[[Any], bytes], candidates: Path, data: Any
) -> None:
    content = dump(data.draw(broken.value_of(json.loads((RELEASED / "config.json").read_bytes()))))
    target = copy_with(RELEASED, "config.json", content, candidates.parent / "released")
    judge(rerank(candidates, target), content, target, "model", "encoder", "folder")


@pytest.mark.parametrize("member", ["config.json", "1_Pooling/config.json", "sentence_bert_config.json"])
@given(data=st.data())
@trial
def test_wrong_values_in_an_encoders_files_are_refused(
    judge: Any, broken: Any, dump: Callable[[Any], bytes], candidates: Path, member: str, data: Any
) -> None:
    source = data.draw(st.sampled_from([RELEASED / "encoder", JINA]))
    valid = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False, "max_seq_length": 128}
    if member == "config.json":
        valid = json.loads((source / member).read_bytes())
    content = dump(data.draw(broken.value_of(valid)))
    target = copy_with(source, member, content, candidates.parent / "encoder")
    judge(rerank(candidates, target, "embedding"), content, target, "model", "encoder")


@pytest.mark.parametrize(
    ("source", "member", "change", "said"),
    [
        ("compact", "pe_rank.json", {"projector": ""}, "{model}: unknown projector ''"),
        (
            "compact",
            "llm/config.json",
            {"num_attention_heads": -1},
            "llm/config.json: num_attention_heads is -1",
        ),
        ("released", "config.json", {"projector_type": ""}, "{model}: unknown projector ''"),
        ("released", "config.json", {"encoder_name": "<script>"}, "cannot load the model '<script>'"),
        ("released", "config.json", {"encoder_name": "/"}, "'/' is the root of all folders"),
        ("released", "config.json", {"encoder_pooling": None}, "{model}': encoder_pooling is None"),
        (
            "released",
            "config.json",
            {"num_key_value_heads": -1},
            "{model}': config.json: num_key_value_heads is -1",
        ),
        (
            "encoder",
            "config.json",
            {"num_attention_heads": -1},
            "{model}': config.json: num_attention_heads is -1",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_model(
    judge: Any,
    candidates: Path,
    checkpoint: Path,
    tmp_path: Path,
    source: str,
    member: str,
    change: dict[str, Any],
    said: str,
) -> None:
    folder = {"compact": checkpoint, "released": RELEASED, "encoder": RELEASED / "encoder"}[source]
    content = json.dumps({**json.loads((folder / member).read_bytes()), **change}).encode()
    target = copy_with(folder, member, content, tmp_path / "model")
    name = "embedding" if source == "encoder" else "pe-rank"
    assert judge(rerank(candidates, target, name), content, said.format(model=target))


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("form", ["torch.save", "pickle"])
@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "projector.bin",
        "non_lora_trainables.bin",
        "adapter_model.bin",
        "encoder",
        "encoder's Dense",
        "llm",
    ],
)
def test_no_loader_of_bin_files_runs_what_is_pickled_in_them(
    tmp_path: Path, tiny_llm: str, name: str, form: str
) -> None:
    executed = tmp_path / "executed"
    content = {"model.projector.0.weight": torch.zeros(2, 2), "more": [{"deep": Payload(executed)}]}

    def plant(path: Path) -> None:
        if form == "pickle":
            path.write_bytes(pickle.dumps(content))
        else:
            torch.save(content, path)

    with pytest.raises(ModelError):
        load_planted(tmp_path / "model", name, plant, tiny_llm)
    assert not executed.exists()


def load_planted(folder: Path, name: str, plant: Callable[[Path], None], tiny_llm: str) -> None:
    """Load a model one of whose files is not what it seems."""
    if name == "encoder's Dense":
        shutil.copytree(RELEASED / "encoder", folder)
        kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
        rows = [
            {"name": path, "path": path, "type": f"sentence_transformers.models.{kind}"}
            for path, kind in kinds.items()
        ]
        (folder / "modules.json").write_text(json.dumps(rows))
        (folder / "1_Pooling").mkdir()
        (folder / "2_Dense").mkdir()
        pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        (folder / "2_Dense" / "config.json").write_text('{"in_features": 32, "out_features": 32}')
        plant(folder / "2_Dense" / "pytorch_model.bin")
        Encoder(str(folder), device="cpu", dtype="float32")
        return
    if name in ("encoder", "llm"):
        shutil.copytree(RELEASED / "encoder" if name == "encoder" else tiny_llm, folder)
        (folder / "model.safetensors").unlink()
        plant(folder / "pytorch_model.bin")
        if name == "encoder":
            Encoder(str(folder), device="cpu", dtype="float32", pooling="mean")
        else:
            CausalLM(str(folder), device="cpu", dtype="float32")
        return
    folder.mkdir()
    if name == "pytorch_model.bin":
        shutil.copytree(RELEASED, folder, dirs_exist_ok=True)
        (folder / "model.safetensors").unlink()
    else:
        adapter = {**ADAPTER, "base_model_name_or_path": tiny_llm}
        (folder / "adapter_config.json").write_text(json.dumps(adapter))
        if name == "adapter_model.bin":
            weights = load_file(RELEASED / "model.safetensors")
            torch.save(
                {key: weights[key] for key in weights if "projector." in key}, folder / "projector.bin"
            )
    plant(folder / name)

    source = Source(
        str(folder), None, str(RELEASED / "encoder"), None, "auto", None, allow_encoder_swap=False
    )
    load_checkpoint(source, dtype="float32", device="cpu", attention="auto")


def test_an_index_of_shards_leads_to_no_file_elsewhere(tmp_path: Path) -> None:
    shutil.copytree(RELEASED, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"weight_map": {"lm_head.weight": "../elsewhere.safetensors"}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    from rerankers.encoders.weights import read_model_weights
    from rerankers.models.locate import find_model

    with pytest.raises(ModelError, match="not beside it"):
        read_model_weights(find_model(str(tmp_path / "model")))


@pytest.mark.parametrize("kind", ["encoder", "llm"])
def test_a_model_that_brings_code_is_refused_without_a_question(
    tmp_path: Path, tiny_llm: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_llm if kind == "llm" else RELEASED / "encoder", folder)
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "own.Config", "AutoModel": "own.Model", "AutoModelForCausalLM": "own.Model"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": auto}))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("nobody is asked"))
    (folder / "modules.json").write_text('[{"path": "", "type": "sentence_transformers.models.Transformer"}]')
    with pytest.raises(ModelError, match="brings its own code"):
        (CausalLM if kind == "llm" else Encoder)(str(folder), device="cpu", dtype="float32")
    assert not (tmp_path / "executed").exists()


def test_remote_code_needs_a_commit_beside_the_models_name() -> None:
    from rerankers import create

    for revision in (None, "main", "v1.0", "a" * 39, "A" * 40):
        for name in ("cross-encoder", "late-interaction"):
            options = {"model": "org/name", "trust_remote_code": True, "revision": revision}
            with pytest.raises(InputError, match="pinned commit"):
                create(name, options)
