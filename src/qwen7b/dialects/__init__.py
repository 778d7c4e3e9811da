"""How a family of models writes and reads tool calls.

In come tools and messages, out go plain messages that a chat format lays out; in comes a reply's text, out go what it
says and the calls it makes. The room knows no model, no engine and no tool's code.
"""

from qwen7b.dialects.definition import ToolDefinition, read_definitions
from qwen7b.dialects.dialect import CallDelta, CallParser, Dialect, ParsedReply, ToolChoice, join_deltas, read_reply

__all__ = [
    "CallDelta",
    "CallParser",
    "Dialect",
    "ParsedReply",
    "ToolChoice",
    "ToolDefinition",
    "join_deltas",
    "read_definitions",
    "read_reply",
]
