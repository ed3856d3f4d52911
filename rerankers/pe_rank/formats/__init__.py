"""The checkpoint formats of PE-Rank: our compact one, the authors' full models, and LoRA adapters."""
