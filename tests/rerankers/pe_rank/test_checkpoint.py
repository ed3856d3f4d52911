"""Every form of checkpoint loads exactly, and what does not belong together is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rerankers.errors import InputError, ModelError
from rerankers.pe_rank.formats.compact import save_compact
from tests.rerankers.pe_rank.checkpoint_files import CASE, FOLDER, load, manifest, order

if TYPE_CHECKING:
    from collections.abc import Callable


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], None], **config: object) -> Path:
    """Return a copy of the full model with other weights or another config."""
    shutil.copytree(FOLDER, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stated, **config}))
    return folder


@pytest.fixture(scope="module")
def projector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`projector.bin` as training leaves it."""
    path = tmp_path_factory.mktemp("projector") / "projector.bin"
    weights = load_file(FOLDER / "model.safetensors")
    torch.save({name: weight for name, weight in weights.items() if "projector." in name}, path)
    return path


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a LoRA adapter as PEFT writes it, with weights large enough to change the order."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.2)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    torch.save(model.merge_and_unload().model.state_dict(), folder / "merged.pt")
    return folder


def test_shards_load_as_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    shutil.copytree(FOLDER, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index: dict[str, str] = {}
    for shard in range(2):
        name = f"model-0000{shard + 1}-of-00002.safetensors"
        part = {key: weight for i, (key, weight) in enumerate(weights.items()) if i % 2 == shard}
        save_file(part, folder / name)
        index |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert order(load(folder)) == CASE["permutation"]


def test_a_bin_file_loads_as_weights_only(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    shutil.copytree(FOLDER, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert order(load(folder)) == CASE["permutation"]


def test_a_bin_file_with_code_is_not_run(base: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"model.projector.0.weight": Payload()}, tmp_path / "projector.bin")
    with pytest.raises(ModelError, match="no weights that can be loaded safely"):
        load(base, encoder=str(FOLDER / "encoder"), projector=tmp_path / "projector.bin")
    assert not (tmp_path / "executed").exists()


def test_embed_llama_with_cls_pooling(tmp_path: Path) -> None:
    folder = changed(tmp_path / "llama", lambda _: None, model_type="embed_llama", encoder_pooling="cls")
    checkpoint = load(folder)
    assert type(checkpoint.llm.transformer).__name__ == "LlamaModel"
    assert checkpoint.encoder.pooling == "cls"
    # without a sliding window Mistral and Llama are the same network, so only pooling makes a difference
    mistral = load(changed(tmp_path / "mistral", lambda _: None, encoder_pooling="cls"))
    assert order(checkpoint) == order(mistral) != CASE["permutation"]


def test_the_rotary_base_of_the_released_config_is_kept(tmp_path: Path) -> None:
    folder = changed(tmp_path / "model", lambda _: None, rope_theta=1e6)
    frequencies = load(folder).llm.transformer.rotary_emb.inv_freq  # theta^(-2i / head dimension)
    assert torch.allclose(frequencies, 1e6 ** (-torch.arange(0, 16, 2) / 16))


@pytest.mark.parametrize(
    "name",
    [
        "model.norm.weight",
        "lm_head.weight",
        "model.projector.2.bias",
        "model.encoder.encoder.encoder.layer.1.output.dense.bias",
    ],
)
def test_a_missing_weight_is_an_error(tmp_path: Path, name: str) -> None:
    folder = changed(tmp_path / "model", lambda weights: weights.__delitem__(name))
    with pytest.raises(ModelError):
        load(folder)


@pytest.mark.parametrize(
    "name",
    ["model.layers.9.mlp.up_proj.weight", "model.projector.4.bias", "model.encoder.encoder.extra", "other"],
)
def test_a_surplus_weight_is_an_error(tmp_path: Path, name: str) -> None:
    folder = changed(tmp_path / "model", lambda weights: weights.update({name: torch.zeros(2)}))
    with pytest.raises(ModelError):
        load(folder)


def test_a_projector_on_its_own_needs_the_encoder_and_is_labelled(base: Path, projector: Path) -> None:
    checkpoint = load(base, encoder=str(FOLDER / "encoder"), pooling="mean", projector=projector)
    assert order(checkpoint) == CASE["permutation"]
    assert "names no encoder" in checkpoint.notice
    with pytest.raises(InputError, match="option 'encoder'"):
        load(base, projector=projector)


def test_a_projector_beside_its_config_knows_its_encoder(base: Path, projector: Path, tmp_path: Path) -> None:
    shutil.copy(projector, tmp_path / "projector.bin")
    stated = {"encoder_name": str(FOLDER / "encoder"), "encoder_pooling": "mean"}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    checkpoint = load(base, projector=tmp_path)
    assert order(checkpoint) == CASE["permutation"]
    assert checkpoint.notice == ""


def test_without_a_projector_the_result_is_labelled_untrained(base: Path) -> None:
    checkpoint = load(base, encoder=str(FOLDER / "encoder"), pooling="mean")
    assert checkpoint.notice.startswith("untrained")
    assert order(checkpoint) == order(load(base, encoder=str(FOLDER / "encoder"), pooling="mean"))
    with pytest.raises(InputError, match="name the option 'encoder'"):
        load(base)


def test_a_training_run_with_an_adapter(base: Path, adapter: Path, projector: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(adapter, folder)
    shutil.copy(projector, folder / "projector.bin")
    trained = {f"base_model.model.{name}": weight for name, weight in torch.load(projector).items()}
    embedding = load_file(FOLDER / "model.safetensors")["model.embed_tokens.weight"] * 1.5
    embedding = torch.cat([embedding, embedding[:1]])  # the training added a token
    trained["base_model.model.model.embed_tokens.weight"] = embedding
    torch.save(trained, folder / "non_lora_trainables.bin")
    stated = {"encoder_name": str(FOLDER / "encoder"), "encoder_pooling": "mean"}
    (folder / "config.json").write_text(json.dumps(stated))
    checkpoint = load(folder)
    assert torch.equal(checkpoint.llm.transformer.embed_tokens.weight, embedding)
    merged = torch.load(adapter / "merged.pt")
    for name, weight in checkpoint.llm.transformer.state_dict().items():
        if name != "embed_tokens.weight":
            assert torch.allclose(weight, merged[name], atol=1e-6)


def restated(name: str, **values: object) -> Callable[[Path], object]:
    def restate(folder: Path) -> None:
        stated = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**stated, **values}))

    return restate


def lost(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def without(name: str, part: str) -> Callable[[Path], object]:
    """Loses the weights that have `part` in their names."""

    def lose(folder: Path) -> None:
        kept = {key: weight for key, weight in load_file(folder / name).items() if part not in key}
        save_file(kept, folder / name)

    return lose


def rewritten(name: str, key: str, *shape: int) -> Callable[[Path], object]:
    write: Callable[[Any, Path], None] = save_file if name.endswith(".safetensors") else torch.save
    return lambda folder: write({key: torch.zeros(shape)}, folder / name)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (restated("adapter_config.json", use_dora=True), "uses use_dora; merge it with PEFT first"),
        (restated("adapter_config.json", bias="all"), "uses bias; merge it with PEFT first"),
        (restated("adapter_config.json", peft_type="IA3"), "is a IA3 adapter; only LORA can be merged"),
        (lost("projector.bin"), "neither projector.bin nor one in its trainables"),
        (lost("adapter_model.safetensors"), "but no adapter_model.safetensors"),
        (without("adapter_model.safetensors", ""), "but no adapter_model.safetensors with weights"),
        (
            without("adapter_model.safetensors", "layers.1."),  # q_proj and v_proj of one of the layers
            r"lacks the weights of 2 modules, first 'model\.layers\.1\.self_attn\.q_proj'",
        ),
        (
            restated("adapter_config.json", r=8),
            r"has rank 4 at 'model\.layers\.0\..*, not 8 as adapter_config",
        ),
        (restated("adapter_config.json", lora_alpha="8"), "lora_alpha is '8' in adapter_config.json"),
        (restated("adapter_config.json", lora_alpha=None), "lora_alpha is None in adapter_config.json"),
        (
            restated("adapter_config.json", base_model_name_or_path=None),
            "base_model_name_or_path is None in adapter_config.json",
        ),
        (
            rewritten("non_lora_trainables.bin", "base_model.model.model.encoder.other.weight", 2),
            "has a trained weight that the base model lacks: 'model.encoder.other.weight'",
        ),
        (
            rewritten("adapter_model.safetensors", "base_model.model.lm_head.lora_C.weight", 2),
            "has a weight the model lacks: 'base_model.model.lm_head.lora_C.weight'",
        ),
        (
            rewritten("adapter_model.safetensors", "base_model.model.lm_head.lora_A.weight", 4, 2),
            "does not fit 'lm_head'",
        ),
        (
            rewritten("non_lora_trainables.bin", "base_model.model.model.other", 2),
            "has a trained weight that the base model lacks: 'model.other'",
        ),
        (
            rewritten("non_lora_trainables.bin", "base_model.model.model.projector.0.bias", 2),
            "holds two projectors that differ; remove the stale projector.bin",
        ),
    ],
)
def test_an_adapter_that_is_not_whole_or_changes_more_than_is_merged_is_refused(
    adapter: Path, projector: Path, tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "run"))
    shutil.copy(projector, folder / "projector.bin")
    spoil(folder)
    with pytest.raises(ModelError, match=says):
        load(folder, encoder=str(FOLDER / "encoder"))


def test_an_adapter_beside_its_base_models_config_loads(
    base: Path, adapter: Path, projector: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "run"))
    shutil.copy(projector, folder / "projector.bin")
    config = json.loads((base / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 100_000}))  # of no weight here
    assert load(folder, encoder=str(FOLDER / "encoder"), pooling="mean").described["format"] == "lora"


def test_a_projector_for_another_language_model_or_encoder_is_refused(base: Path, tmp_path: Path) -> None:
    torch.save({"0.weight": torch.ones(24, 32), "0.bias": torch.ones(24)}, tmp_path / "projector.bin")
    (tmp_path / "config.json").write_text(json.dumps({"projector_type": "linear"}))
    with pytest.raises(ModelError, match=r"the projector makes 24 dimensions but .* reads 64"):
        load(base, encoder=str(FOLDER / "encoder"), pooling="mean", projector=tmp_path)
    full = load(FOLDER)
    stated = manifest(base, dimension=48)
    save_compact(tmp_path / "compact", stated, full.llm.projector, torch.float32)
    with pytest.raises(
        ModelError, match=r"encoder\.dimension is 48 in pe_rank\.json, but the projector takes 32"
    ):
        load(tmp_path / "compact")


def test_a_projector_of_its_own_is_in_the_record(base: Path, projector: Path) -> None:
    used = {"encoder": str(FOLDER / "encoder"), "pooling": "mean"}
    described = load(base, projector=projector, **used).described
    assert described["projector"] == f"sha256:{hashlib.sha256(projector.read_bytes()).hexdigest()}"


def test_a_projector_that_is_not_there_or_one_too_many_is_refused(base: Path, projector: Path) -> None:
    with pytest.raises(InputError, match=r"no projector .*absent\.bin'; give projector.bin or the folder"):
        load(base, projector=projector.with_name("absent.bin"))
    with pytest.raises(InputError, match="brings its own projector; leave the option 'projector' out"):
        load(FOLDER, projector=projector)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lost("projector.safetensors"), "has pe_rank.json but no projector.safetensors"),
        (restated("pe_rank.json", llm={"model": "BASE", "fingerprint": "sha256:0"}), "have changed since"),
        (
            restated(
                "pe_rank.json",
                encoder={"model": "ENCODER", "pooling": "mean", "dimension": 32, "fingerprint": "sha256:0"},
            ),
            "the projector was trained with other weights of",
        ),
    ],
)
def test_models_that_changed_since_the_training_are_refused(
    base: Path, tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    save_compact(tmp_path, manifest(base), load(FOLDER).llm.projector, torch.float32)
    spoil(tmp_path)
    stated = (tmp_path / "pe_rank.json").read_text()
    stated = stated.replace("BASE", str(base)).replace("ENCODER", str(FOLDER / "encoder"))
    (tmp_path / "pe_rank.json").write_text(stated)
    with pytest.raises(ModelError, match=says):
        load(tmp_path)


def test_the_compact_format_round_trips(base: Path, adapter: Path, tmp_path: Path) -> None:
    full = load(FOLDER)
    save_compact(tmp_path / "plain", manifest(base), full.llm.projector, torch.float32)
    checkpoint = load(tmp_path / "plain")
    assert order(checkpoint) == CASE["permutation"]
    assert checkpoint.notice == ""
    save_compact(tmp_path / "lora", manifest(base), full.llm.projector, torch.float16, adapter)
    merged = torch.load(adapter / "merged.pt")
    weight = load(tmp_path / "lora").llm.transformer.layers[0].self_attn.q_proj.weight
    assert torch.allclose(weight, merged["layers.0.self_attn.q_proj.weight"], atol=1e-6)


def test_a_broken_manifest_names_the_field(base: Path, tmp_path: Path) -> None:
    save_compact(tmp_path, manifest(base), load(FOLDER).llm.projector, torch.float32)
    stated = json.loads((tmp_path / "pe_rank.json").read_text())
    stated["encoder"]["pooling"] = "max"
    (tmp_path / "pe_rank.json").write_text(json.dumps(stated))
    with pytest.raises(ModelError, match=r"pe_rank\.json: encoder\.pooling"):
        load(tmp_path)
