"""Options models are read before anything is loaded, so importing them loads nothing."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "transformers", "sentence_transformers", "openai", "httpx"}
CODE = """
import sys
from rerankers.registry import METHODS, options_model
models = [options_model(name) for name in METHODS]
assert all(model.model_json_schema() and model.summary and model.role for model in models)
names = {name.partition(".")[0] for name in sys.modules} | sys.modules.keys()
print(*(names & {model.implementation.partition(":")[0] for model in models}), *(names & set(sys.argv[1:])))
"""


def test_no_options_model_imports_its_reranker_or_a_heavy_package() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *sorted(HEAVY)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split()
