"""What an MCP server says, for a model: its tools as definitions, and results as text. Importing it imports `mcp`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence

from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
from jsonschema.validators import validator_for  # type: ignore[import-untyped]
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
)

from qwen7b.dialects.definition import ToolDefinition, read_definitions
from qwen7b.errors import SettingError
from qwen7b.tools.tool_result import ToolFailure

_MAX_CHARACTERS = 100_000
"""The longest description of one tool, as JSON; a longer one would leave a model no room for anything else."""


def define_tools(tools: Sequence[Tool], *, prefix: str, label: str) -> dict[str, tuple[ToolDefinition, Tool]]:
    """The tools that a model can be offered, by the names that it calls them by. Of each other a warning says why."""
    found: dict[str, tuple[ToolDefinition, Tool]] = {}
    for tool in tools:
        name = f"{prefix}{tool.name}"
        try:
            if name in found:
                raise SettingError("it is listed twice")
            found[name] = (_define(name, tool), tool)
        except SettingError as error:
            warnings.warn(f"the tool {tool.name:.80} of the MCP server {label!r} is left out: {error}", stacklevel=2)
    return found


def content_text(result: CallToolResult) -> str:
    """What a result says as text. Images, sounds and files are named, with their size."""
    if not result.content and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(_block_text(block) for block in result.content)


def failure(text: str) -> ToolFailure:
    """What a server says that a tool did wrong, with a beginning by which a model sees that it is an error."""
    is_marked = text.lower().startswith("error")
    return ToolFailure(text if is_marked else f"Error: {text or 'the tool failed and does not say why'}")


def _define(name: str, tool: Tool) -> ToolDefinition:
    described = {"name": name, "description": tool.description or tool.title or "", "parameters": tool.input_schema}
    size = len(json.dumps(described, ensure_ascii=False))
    if size > _MAX_CHARACTERS:
        raise SettingError(f"its description has {size:,} characters of at most {_MAX_CHARACTERS:,}")
    schema = tool.input_schema
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        place = "/".join(str(step) for step in error.absolute_path)
        raise SettingError(f"its schema is not valid at {place or 'its root'}: {error.message:.200}") from None
    except RecursionError:
        raise SettingError("its schema is too deep") from None
    (definition,) = read_definitions([described])
    return definition


def _block_text(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent() | AudioContent():
            return f"[{block.type} {block.mime_type}, {_bytes(block.data)}]"
        case ResourceLink():
            return f"[resource {block.name}: {block.uri}]"
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return resource.text
        case EmbeddedResource(resource=BlobResourceContents() as resource):
            kind = resource.mime_type or "of no stated type"
            return f"[resource {resource.uri}, {kind}, {_bytes(resource.blob)}]"
    raise AssertionError(block)


def _bytes(base64: str) -> str:
    return f"{len(base64.rstrip('=')) * 3 // 4:,} bytes"
