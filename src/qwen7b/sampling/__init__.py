"""Logits in, a token's id out: the settings of sampling, and the pick.

It knows neither models nor requests: a row of logits, the settings, and what is remembered of a sequence are all that a
pick depends on. The settings need no torch.
"""
