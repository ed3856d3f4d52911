"""Training text under free licences: dictionaries and prose that Debian distributes, as a dataset folder.

`python -m benchmarks.training_data.free_text --out FOLDER` fetches a few Debian packages through apt, cuts
their prose into passages of 15 to 80 words, and writes short queries as people type them into a search box.
No judgement, query or passage of a test collection is involved, so a model trained on it may be
evaluated on any.
"""
