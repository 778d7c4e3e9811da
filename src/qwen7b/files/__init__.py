"""Tensors in files: a path in; out go names, shapes and rows, which are read on demand.

Knows safetensors, pickles, GGUF and GPTQ, in one file or many, and trusts none of them; does not know what the tensors
mean to a model.
"""
