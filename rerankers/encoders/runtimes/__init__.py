"""ONNX Runtime and OpenVINO in place of torch, for the transformer of an encoder or cross-encoder on a CPU.

`network.install` is the one entry. It swaps the network inside a module of sentence-transformers that torch
has loaded, so tokenizing, pooling, normalizing and heads stay the same. The libraries are called directly,
because optimum, by which sentence-transformers calls them, does not install beside current transformers. Once
it does, this folder can be replaced by sentence-transformers' argument `backend`.
"""
