"""Low-rank adapters: what training writes beside a model, and loading takes, in PEFT's format.

In come a checkpoint and an adapter's folder, or a model to adapt; out go the checkpoint with the adapter added, or the
model with its few new parameters, and the folder again. The room knows no data and no loop.
https://arxiv.org/abs/2106.09685, https://huggingface.co/docs/peft
"""
