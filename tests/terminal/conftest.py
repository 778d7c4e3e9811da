"""A stand-in for a loaded model, and a conversation with it."""

from conversing import english, fake, run, talk  # noqa: F401  # fixtures
