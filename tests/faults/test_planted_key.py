"""A key is in no file and no stream, whatever an endpoint does with it and however it was set."""

from __future__ import annotations

import base64
import html
import json
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import yaml

from benchmarks.cli.main import main
from benchmarks.cli.redaction import as_line
from rerankers import create
from rerankers.endpoints.keys import read_key
from rerankers.errors import InputError, reason_of
from rerankers.text.redaction import excerpt, redacted
from tests.faults.hostile import Asked, Hostile, chunked, completion, reply, scores, spellings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = """sk-"plan't\\ed<9f&3c/71+ab=e5?%d2"""
"""Characters that `repr`, JSON, HTML and URLs each write in another way."""
VARIABLES = ("OPENAI_API_KEY", "VLLM_API_KEY")


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setattr("rerankers.endpoints.endpoint.FIRST_WAIT_SECONDS", 0.001)
    for variable in VARIABLES:
        monkeypatch.setenv(variable, KEY)
    server = Hostile()
    yield server
    server.close()


def written(key: str) -> list[str]:
    """Return the key as an endpoint may write it."""
    return [
        *(
            key,
            repr(key),
            repr(key.encode()),
            json.dumps(key),
            html.escape(key),
            quote(key),
            quote(key, safe=""),
        ),
        base64.b64encode(key.encode()).decode(),
    ]


class Echo:
    """Repeats the key in every part of every response, at every distance from a cut."""

    def __init__(self) -> None:
        self._random = random.Random(0)

    def __call__(self, request: Asked) -> Iterator[bytes]:
        key = request.headers["authorization"].removeprefix("Bearer ")
        assert key == KEY
        draw = self._random
        echoed = "".join(f"{'x' * draw.randint(0, 120)}{spelling} " for spelling in written(key))
        kind = draw.randrange(8)
        if kind < 3:
            answer: Any = completion(f"[2] > [1] {echoed}", model=echoed, system_fingerprint=echoed)
            if "documents" in request.body:
                answer = {**scores(len(request.body["documents"])), "id": echoed, key: echoed}
            if request.body.get("stream"):
                yield from chunked(events(echoed))
            else:
                yield reply(answer)
        elif kind == 3:
            yield reply({"error": {"message": echoed, "code": key}}, "500 Broken", Retry_After="0")
        elif kind == 4:
            yield reply(f"<html><title>{echoed}</title>".encode(), "502 Gateway")
        elif kind == 5:
            yield reply({"choices": [], echoed: key})
        elif kind == 6:
            yield reply(f'{{"results": {echoed}'.encode())
        else:
            yield reply([{"error": {"message": json.dumps({"error": {"message": echoed}})}}], "503 Busy")


def events(text: str) -> Iterator[bytes]:
    chunk = {"model": text, "choices": [{"delta": {"content": "[2] > [1] "}}]}
    for piece in (chunk, {**chunk, "choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}):
        yield f"data: {json.dumps(piece)}\n\n".encode()
    yield b"data: [DONE]\n\n"


def test_a_planted_key_is_in_no_file_and_no_stream(
    hostile: Hostile, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile.act = Echo()
    monkeypatch.chdir(tmp_path)
    hits = [{"content": f"text {p}", "docid": f"d{p}", "score": -p} for p in range(3)]
    queries = [{"query": {"text": f"query {q}", "qid": f"q{q}"}, "hits": hits} for q in range(12)]
    (tmp_path / "hits.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queries))
    (tmp_path / "qrels.txt").write_text("".join(f"q{q} 0 d1 1\n" for q in range(12)))
    chat = {"model": "m", "base_url": f"{hostile.root}/v1", "retries": 30, "recording": "chat.sqlite"}
    api = {"api": "vllm", "model": "m", "base_url": hostile.root, "retries": 30, "recording": "api.sqlite"}
    systems = [
        ("chat", "rankgpt", chat),
        ("stream", "rankgpt", {**chat, "stream": True}),
        ("api", "rerank-api", api),
        ("fails", "rankgpt", {**chat, "model": "other", "retries": 0}),
        ("api fails", "rerank-api", {**api, "model": "other", "retries": 0}),
    ]
    experiment = {
        "name": "planted",
        "datasets": {"candidates": "hits.jsonl", "qrels": "qrels.txt"},
        "first_stages": "given",
        "protocol": {"warmup": 0},
        "rerankers": [{"name": name, "label": label, "options": dict(o)} for label, name, o in systems],
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    assert main(["run", "experiment.yaml", "--out", "results"]) == 1  # two systems fail
    main(["report", "results"])
    main(["table", "results"])
    for retries in (0, 1, 2):
        options = [f"base_url={hostile.root}", "api=vllm", "model=m", f"retries={retries}"]
        main(["rerank", "--reranker", "rerank-api", "--candidates", "hits.jsonl", "--output", "run.trec",
              "--option", *options])  # fmt: skip
    assert len(hostile.asked) > 40
    captured = capfd.readouterr()
    contents = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes().decode("utf-8", errors="replace")
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    contents |= {"standard output": captured.out, "standard error": captured.err}
    assert {"chat.sqlite", "api.sqlite", "results/report.html"} <= contents.keys()
    assert "$OPENAI_API_KEY" in contents["standard error"]
    for name, content in contents.items():
        for spelling in written(KEY):
            for part in spellings(spelling.strip("'\"b")):
                assert part not in content, f"{name} holds {part!r}"


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("sk-0123456789abcdef\n", "a line end"),
        ("sk-0123456789\r\nabcdef", "a line end"),
        ("sk-0123 456789abcdef", "white space"),
        ("\tsk-0123456789abcdef", "white space"),
        ("sk-0123456789äbcdef", "no ASCII"),
        ("sk-0123456789\x7fbcdef", "no ASCII"),
    ],
)
@pytest.mark.parametrize(
    ("name", "options"), [("rankgpt", {"model": "m"}), ("rerank-api", {"api": "vllm", "model": "m"})]
)
def test_a_malformed_key_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, key: str, kind: str, name: str, options: dict[str, str]
) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, key)
    with pytest.raises(InputError, match=rf"_API_KEY: character \d+ of \d+ is {kind}") as raised:
        create(name, {**options, "base_url": "http://localhost:9"})
    assert not [part for part in spellings(key.strip()) if part in str(raised.value)]


def test_a_usual_key_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert read_key("OPENAI_API_KEY") == KEY
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert read_key("OPENAI_API_KEY") is None


def test_a_secret_is_hidden_before_a_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for start in range(80, 110):
        assert KEY[:8] not in excerpt("x" * start + KEY, 100)
    for start in range(270, 310):
        assert KEY[:8] not in reason_of(ValueError("x" * start + KEY))
    for start in range(700, 800):
        assert KEY[:8] not in as_line("x" * start + KEY + "y" * 500)


def test_a_secret_of_several_lines_is_hidden_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_KEY", "-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----\n")
    assert redacted("read MIIEvQIBADANBg from a file") == "read $DEPLOY_KEY from a file"


def test_placeholders_for_servers_without_keys_are_ordinary_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    assert redacted("an EMPTY answer") == "an EMPTY answer"


def test_a_password_in_an_address_of_the_environment_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pass%2Fword-9@proxy:8080")
    message = redacted("cannot reach http://user:pass%2Fword-9@proxy:8080, password pass/word-9")
    assert message == "cannot reach http://user:$HTTPS_PROXY@proxy:8080, password $HTTPS_PROXY"
