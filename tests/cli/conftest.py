"""A stand-in for a loaded model, and the command line run in this process."""

from conversing import english, fake, run, talk  # noqa: F401  # fixtures
