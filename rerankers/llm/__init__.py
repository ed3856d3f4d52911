"""Large language models: loading causal models, and chat backends (`openai`, `transformers`)."""
