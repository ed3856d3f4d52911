"""A vLLM server cuts long passages, and never the score template behind them."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from rerankers import RerankRequest, StageClock, create
from tests.servers import serving

if TYPE_CHECKING:
    from collections.abc import Callable


class VLLM(BaseHTTPRequestHandler):
    """Counts a token a word and cuts as vLLM does; the prompt's template has six tokens, the last of which is
    where the score is read.
    """

    protocol_version = "HTTP/1.1"
    knows_limit: ClassVar[bool] = True
    prompts: ClassVar[list[list[str]]] = []
    context: ClassVar[int] = 300

    def do_GET(self) -> None:
        self.send({"data": [{"id": "m", "max_model_len": self.context}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        limit = body.get("max_tokens_per_doc") if self.knows_limit else None
        prompts = []
        for text in body["documents"]:
            passage = text.split()[:limit]
            prompt = ["<query>", *body["query"].split(), "<passage>", *passage, "is", "it", "relevant", "?"]
            prompts.append(prompt[: self.context] if body.get("truncate_prompt_tokens") else prompt)
        if max(map(len, prompts)) > self.context:
            return self.send({"error": {"message": "the prompt is longer than the context"}}, 400)
        self.prompts.extend(prompts)
        results = [{"index": i, "relevance_score": 1 / len(p)} for i, p in enumerate(prompts)]
        return self.send({"results": results, "usage": {"total_tokens": sum(map(len, prompts))}})

    def send(self, value: Any, status: int = 200) -> None:
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.mark.parametrize("knows_limit", [True, False], ids=["new", "old"])
def test_a_long_passage_is_cut_and_not_the_template_behind_it(
    knows_limit: bool,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(VLLM, "knows_limit", knows_limit)
    monkeypatch.setattr(VLLM, "prompts", [])
    with serving(VLLM) as url:
        reranker = create("rerank-api", {"api": "vllm", "model": "m", "base_url": url})
        reranker.rerank([make_request("what is it", ["word " * 1000, "word"])], clock)
        described = reranker.describe()
        reranker.close()
    long, short = VLLM.prompts[-2:]
    assert short[-1] == "?"
    if not knows_limit:  # which cuts the end, as ever
        assert long[-1] == "word"
        assert described["room_for_passages"] is None
        return
    assert long[-1] == "?"
    # The template has six words around a query and a passage; two bytes of a query are a token at most.
    assert described["room_for_passages"] == {"context_tokens": 300, "prompt_tokens": 6 + 2}
    assert long.count("word") == 300 - (6 + 2) - len("what is it") // 2
