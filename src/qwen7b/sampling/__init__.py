"""Logits in, a token's id out: the settings of sampling, and the pick.

The room knows neither models nor requests: a pick depends on a row of logits, the settings, and the state of one
sequence. The settings need no torch.
"""
