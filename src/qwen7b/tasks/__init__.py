"""Benchmarks: official files become items, an item becomes its prompt, a reply becomes what it answers.

The room knows no model, no tokenizer and no score: what runs a task on a model is `qwen7b.evals`.
"""
