"""ICR and QRHead, compared with the outputs of their published codes (`tests/golden/icr`)."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, AutoTokenizer

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, ModelError, RerankbenchError
from rerankers.listwise.attention_heads import find_heads
from rerankers.listwise.icr import ICR, calibrated_scores
from rerankers.listwise.icr_prompt import ICRPromptWriter
from rerankers.llm.attention_rows import AttentionRows
from rerankers.llm.causal import CausalLM
from rerankers.methods.listwise.icr import ICROptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers import Ranking

FOLDER = Path(__file__).parents[2] / "golden" / "icr"
TOLERANCE = 1e-5  # the reference's README


def cases(file: str) -> list[Any]:
    matching = json.loads((FOLDER / file).read_text(encoding="utf-8"))["cases"]
    return [pytest.param(case, id=case["kind"]) for case in matching]


@cache
def icr_reranker(**options: Any) -> ICR:
    """Return the published code reads control tokens as such."""
    return ICR(ICROptions(model=str(FOLDER), control_tokens="control", **options))


def ranked(reranker: ICR, query: str, passages: list[str]) -> tuple[list[int], list[float], Ranking]:
    """Positions best first, scores by position, and the ranking."""
    request = RerankRequest.of(query, {str(i): text for i, text in enumerate(passages)})
    [ranking] = reranker.rerank([request], StageClock())
    order = [int(doc_id) for doc_id in ranking.doc_ids]
    by_position = dict(zip(order, ranking.scores, strict=True))
    return order, [by_position[i] for i in range(len(order))], ranking


@pytest.mark.parametrize("case", cases("golden.json"))
def test_rankings_are_those_of_the_published_code(case: dict[str, Any]) -> None:
    windows = (
        {}
        if case["sliding_window_size"] < 0
        else {"window_policy": "sliding", "window": case["sliding_window_size"]}
    )
    reranker = icr_reranker(
        retrieval_type=case["retrieval_type"],
        scoring=case["scoring_strategy"],
        template=case["prompt_template"],
        passage_order="best_last" if case["reverse_doc_order"] else "best_first",
        step=case["sliding_window_stride"],
        **windows,
    )
    order, scores, ranking = ranked(reranker, case["query"], case["passages"])
    assert order == case["permutation"]
    if "scores" in case and len(order) > 1:  # one passage needs no score
        assert scores == pytest.approx(case["scores"], abs=TOLERANCE)
    if len(order) > 1:
        assert ranking.usage.windows == len(case["windows"])
        lengths = [window["prompt_length"] for window in case["windows"]]
        if case["scoring_strategy"] == "query_last":
            assert ranking.usage.prompt_tokens == sum(lengths)


@pytest.mark.parametrize("case", cases("golden_qrhead.json"))
def test_scores_of_chosen_heads_are_those_of_qrhead(case: dict[str, Any]) -> None:
    heads = "all" if case["heads"] == "full_heads" else case["heads"]
    titles = case.get("titles") or [None] * len(case["passages"])
    passages = [
        text if title is None else f"{title}\n{text}"
        for title, text in zip(titles, case["passages"], strict=True)
    ]
    order, scores, _ = ranked(icr_reranker(retrieval_type="IE", heads=heads), case["query"], passages)
    if len(order) == 1:
        return
    if case["kind"] == "quoted":  # its code takes the quotation in passage 1 for passage 2
        assert scores[0] == pytest.approx(case["scores"][0], abs=TOLERANCE)
        assert scores[2] == pytest.approx(case["scores"][2], abs=TOLERANCE)
        assert scores[1] != pytest.approx(case["scores"][1], abs=TOLERANCE)
        return
    assert order == case["permutation"]
    assert scores == pytest.approx(case["scores"], abs=TOLERANCE)


WITH_TOKENS = [
    param for param in cases("golden.json") if param.values[0]["windows"][0].get("prompt_token_ids")
]


@pytest.mark.parametrize("case", WITH_TOKENS)
def test_prompts_and_spans_are_those_of_the_published_code(case: dict[str, Any]) -> None:
    window = case["windows"][0]
    tokenizer: Any = AutoTokenizer.from_pretrained(FOLDER)
    writer = ICRPromptWriter(tokenizer, "llama3", case["prompt_template"], case["retrieval_type"])
    passages = case["passages"][::-1] if case["reverse_doc_order"] else case["passages"]
    query = "N/A" if case["scoring_strategy"] == "NA_only" else case["query"]
    prompt = writer.write([query, "N/A"], passages)
    assert prompt.beginning + prompt.endings[0] == window["prompt_token_ids"]
    if window.get("calibration_prompt_token_ids"):
        assert prompt.beginning + prompt.endings[1] == window["calibration_prompt_token_ids"]
    assert [list(span) for span in prompt.passages] == window["passage_spans"]
    if case["scoring_strategy"] != "attention_sorting":  # whose span is the last token
        assert len(prompt.beginning) == window["query_span"][0]


@pytest.mark.parametrize(
    "case", [param for param in cases("golden_qrhead.json") if "prompt_token_ids" in param.values[0]]
)
def test_prompts_and_spans_are_those_of_qrhead(case: dict[str, Any]) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(FOLDER)
    titles = case.get("titles") or [None] * len(case["passages"])
    pairs = zip(titles, case["passages"], strict=True)
    passages = [text if title is None else f"{title}\n{text}" for title, text in pairs]
    prompt = ICRPromptWriter(tokenizer, "llama3", "instruct", "IE").write([case["query"], "N/A"], passages)
    ids = prompt.beginning + prompt.endings[0]
    assert ids == case["prompt_token_ids"]
    assert len(ids) == case["prompt_length"]
    assert [len(prompt.beginning), len(ids) - 1] == case["query_span_inclusive"]
    spans = [[start, end - 1] for start, end in prompt.passages]
    stolen = (
        [1] if case["kind"] == "quoted" else []
    )  # its code takes the quotation in passage 1 for passage 2
    for i, (ours, theirs) in enumerate(zip(spans, case["passage_spans_inclusive"], strict=True)):
        assert (ours == theirs) != (i in stolen)


def test_one_passage_scores_as_in_the_published_code() -> None:
    [case] = [param.values[0] for param in cases("golden.json") if param.id == "1"]
    llm = CausalLM(str(FOLDER))
    prompt = ICRPromptWriter(llm.tokenizer, "llama3", "instruct", "QA").write(
        [case["query"], "N/A"], case["passages"]
    )
    query, calibration = AttentionRows(llm).read(prompt.beginning, prompt.endings)
    scores = calibrated_scores(query - calibration, prompt.passages)
    assert scores == pytest.approx(case["scores"], abs=TOLERANCE)


def test_scores_by_head_are_those_that_qrhead_detects_heads_by() -> None:
    [case] = [param.values[0] for param in cases("golden_qrhead.json") if param.id == "all-heads-3"]
    llm = CausalLM(str(FOLDER))
    prompt = ICRPromptWriter(llm.tokenizer, "llama3", "instruct", "IE").write(
        [case["query"], "N/A"], case["passages"]
    )
    query, calibration = AttentionRows(llm).read_heads(prompt.beginning, prompt.endings)
    by_head = [calibrated_scores(head, prompt.passages) for head in query - calibration]
    for passage, table in enumerate(case["scores_by_layer_and_head"]):
        expected = [score for layer in table for score in layer]
        assert [scores[passage] for scores in by_head] == pytest.approx(expected, abs=TOLERANCE)


def test_layers_above_the_last_chosen_head_are_not_run() -> None:
    chosen = icr_reranker(heads="0-1 1-2")
    assert chosen.describe()["layers_run"] == 2
    assert chosen.describe()["parameters"] == icr_reranker().describe()["parameters"]
    runs: list[str] = []
    hook = register_module_forward_pre_hook(lambda module, _: runs.append(type(module).__name__))
    try:
        ranked(chosen, "who guides ships", ["a ferry", "a lighthouse", "a loom"])
    finally:
        hook.remove()
    assert runs.count("LlamaDecoderLayer") == 2  # in one pass, of the query and the content-free query
    assert runs.count("LlamaModel") == 1


class Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call, misc, unused-ignore]
    """Notes the shapes of all tensors that operators return."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.found: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = result if isinstance(result, tuple | list) else [result]
        self.found |= {tuple(output.shape) for output in outputs if isinstance(output, torch.Tensor)}
        return result


def test_attention_of_all_tokens_to_all_tokens_is_never_in_memory() -> None:
    passages = [f"{i} " + "the careful ferry carries a bundle of nets " * 4 for i in range(15)]
    with Shapes() as shapes:
        _, _, ranking = ranked(icr_reranker(), "who guides ships", passages)
    tokens = ranking.usage.cached_tokens  # of the passages
    assert tokens > 500
    assert not [shape for shape in shapes.found if sum(size >= tokens for size in shape) > 1]


def test_usage_counts_both_prompts_and_what_they_share() -> None:
    _, _, ranking = ranked(icr_reranker(), "who guides ships", ["a ferry", "a lighthouse"])
    usage = ranking.usage
    assert (usage.windows, usage.llm_calls) == (1, 1)
    assert 0 < usage.cached_tokens < usage.prompt_tokens / 2
    assert usage.passages_truncated == 0
    _, _, alone = ranked(icr_reranker(scoring="query_last"), "who guides ships", ["a ferry", "a lighthouse"])
    assert alone.usage.cached_tokens == 0


def test_passages_are_cut_after_a_number_of_words_and_where_the_context_ends(tmp_path: Path) -> None:
    passages = ["the ferry " * 90, "a loom"]
    _, scores, ranking = ranked(icr_reranker(passage_words=4), "who guides ships", passages)
    assert ranking.usage.passages_truncated == 1
    assert scores == ranked(icr_reranker(), "who guides ships", ["the ferry the ferry", "a loom"])[1]
    folder = Path(shutil.copytree(FOLDER, tmp_path / "short"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 128}))
    _, _, ranking = ranked(ICR(ICROptions(model=str(folder))), "who guides ships", passages)
    assert ranking.usage.passages_truncated == 1
    assert 60 < ranking.usage.prompt_tokens - ranking.usage.cached_tokens <= 128 + 40
    with pytest.raises(ModelError, match="exceed the context of 128 tokens"):
        ranked(ICR(ICROptions(model=str(folder))), "who guides ships", ["a loom"] * 60)


@pytest.mark.parametrize("kind", ["Qwen2", "Qwen3", "Mistral", "Llama"])
def test_rows_are_those_of_the_models_own_attention(kind: str, tiny_family: Callable[..., str]) -> None:
    folder = tiny_family(kind)
    beginning, endings = list(range(20, 90)), [list(range(90, 97)), list(range(200, 211))]
    model: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    head_rows = AttentionRows(CausalLM(folder), {1: [5, 2], 0: [3]}).read_heads(beginning, endings)
    for ending, rows in zip(endings, head_rows, strict=True):
        with torch.inference_mode():
            layers = model(torch.tensor([beginning + ending]), output_attentions=True).attentions
        expected_rows = [
            layers[layer][0, head, 70:, :70].mean(dim=0) for layer, head in [(0, 3), (1, 5), (1, 2)]
        ]
        torch.testing.assert_close(rows, torch.stack(expected_rows), atol=1e-6, rtol=0)


def test_a_prompt_longer_than_the_sliding_window_is_cut(tiny_family: Callable[..., str]) -> None:
    rows = AttentionRows(CausalLM(tiny_family("Mistral", sliding_window=128)))
    assert rows.context == 128
    assert AttentionRows(CausalLM(tiny_family("Mistral"))).context == 4096


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("Gemma2", "caps its logits"), ("Lfm2", "layers of the kind conv"), ("Mamba", "cannot be read exactly")],
)
def test_attention_that_cannot_be_read_exactly_is_refused(
    kind: str, reason: str, tiny_causal: Callable[[str], str]
) -> None:
    with pytest.raises(ModelError, match=reason):
        AttentionRows(CausalLM(tiny_causal(kind)))


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ("all", None),
        ("13-18,13-2", {13: [18, 2]}),
        ("1-2 0-3\n1-0", {1: [2, 0], 0: [3]}),
    ],
)
def test_heads_are_listed_by_layer(heads: str, expected: dict[int, list[int]] | None) -> None:
    assert find_heads(heads) == expected


def test_heads_come_from_published_sets_and_from_files(tmp_path: Path) -> None:
    published = find_heads("llama-3.1-8b-lme")
    assert published is not None
    assert sum(map(len, published.values())) == 16
    assert published[13] == [18, 21, 1, 13, 8, 3, 4]
    listed = tmp_path / "heads.txt"
    listed.write_text("# best first\n2-6, 0-1\n0-6\n")
    config = tmp_path / "heads.yaml"
    config.write_text('# Default\n\nattn_head_set: "2-6,0-1,0-6" # top3\nmodel_base_class: "Llama"\n')
    assert find_heads(str(listed)) == find_heads(str(config)) == {2: [6], 0: [1, 6]}


@pytest.mark.parametrize(
    ("heads", "reason"),
    [
        ("llama-3.1-8b-lmx", "llama-3.1-8b-lme"),
        ("1-2 1-2", "1-2 is listed twice"),
        ("here/heads.txt", "no file"),
        ("99999-1", "is not a head"),
    ],
)
def test_heads_of_no_known_form_are_refused(heads: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        create("icr", {"model": str(FOLDER), "heads": heads})


def test_a_model_without_the_chosen_head_is_refused() -> None:
    with pytest.raises(ModelError, match="no head 13-18: its 3 layers have 8 heads each"):
        icr_reranker(heads="llama-3.1-8b-lme")


def test_a_family_is_recognised_by_its_control_tokens(tiny_family: Callable[..., str], tiny_llm: str) -> None:
    assert icr_reranker().describe()["prompt"] == "llama3"
    with pytest.raises(ModelError, match="Name one of them as prompt"):
        ICR(ICROptions(model=tiny_llm))
    assert ICR(ICROptions(model=tiny_llm, prompt="mistral")).describe()["prompt"] == "mistral"
    with pytest.raises(RerankbenchError, match="mistral"):
        ICR(ICROptions(model=str(FOLDER), prompt="mistrall"))


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Make the folder of a random two-layer model of another family, with grouped key heads."""

    def make(kind: str, **more: Any) -> str:
        folder = tmp_path_factory.mktemp(f"tiny-{kind}")
        config = getattr(transformers, f"{kind}Config")(
            vocab_size=912,
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=4096,
            initializer_range=0.3,
            **{"sliding_window": None, **more},
        )
        torch.manual_seed(0)
        auto: Any = AutoModelForCausalLM
        auto.from_config(config).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(FOLDER / name, folder / name)
        return str(folder)

    return make
