"""Conversations or token shards in, trained weights out: labels, the loop, checkpoints of runs, and adapters.

The room knows what a model is trained on and how; how a model computes, how a conversation is laid out and how
checkpoints are written it leaves to `model`, `text` and `convert`.
"""
