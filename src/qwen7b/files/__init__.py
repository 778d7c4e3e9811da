"""Tensors in files: a path in; out go names, shapes and rows, which are read when they are asked for.

Knows safetensors, pickles, GGUF and GPTQ, one file or many, and trusts none of them; knows nothing of what the tensors
are to a model.
"""
