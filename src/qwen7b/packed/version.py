"""The version of what packed codes mean, and the name under which files say it."""

VERSION = 3
"""A file of another version is never read."""
VERSION_FIELD = "qwen7b_packed"
