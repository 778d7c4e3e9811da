"""The version of the packed format, and the name of the field that states it in files."""

VERSION = 3
"""The version that this code writes and reads; a file of another version is never read."""
VERSION_FIELD = "qwen7b_packed"
