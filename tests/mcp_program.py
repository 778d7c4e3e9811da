"""A program that speaks MCP 2025-11-25 by hand, well or badly: `python mcp_program.py BEHAVIOUR`. It starts quickly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

ECHO = {
    "name": "echo",
    "description": "Say it again.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}
behaviour = sys.argv[1] if len(sys.argv) > 1 else "plain"
renamed = False


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def notify(method: str, params: dict[str, Any] | None = None) -> None:
    write({"method": f"notifications/{method}", **({} if params is None else {"params": params})})


def log_forever() -> None:
    while True:
        os.write(2, b"a long log " * 1000)


def notify_forever() -> None:
    while True:
        notify("message", {"level": "info", "data": "x" * 100})


def list_tools(cursor: str | None) -> dict[str, Any]:
    schema = ECHO["inputSchema"]
    match behaviour:
        case "pages":
            page = int(cursor or 0)
            tools = [{**ECHO, "name": f"echo{page}"}]
            return {"tools": tools, **({"nextCursor": str(page + 1)} if page < 2 else {})}
        case "endless-pages":
            return {"tools": [ECHO] * 400, "nextCursor": "more"}
        case "renames":
            return {"tools": [{**ECHO, "name": "repeat" if renamed else "echo"}]}
        case "names":
            return {"tools": [{**ECHO, "name": name} for name in ("files.read", "查询天气", "a b", "")]}
        case "bad-schemas":
            wrong = {"type": "object", "properties": {"text": {"type": "strin"}}}
            huge = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(10_000)}}
            self = {"type": "object", "properties": {"child": {"$ref": "#"}}}
            pairs = [("wrong", wrong), ("huge", huge), ("self", self), ("echo", schema), ("echo", schema)]
            return {"tools": [{"name": name, "inputSchema": schema} for name, schema in pairs]}
        case "no-schema":
            return {"tools": [{"name": "echo"}]}
    return {"tools": [{**ECHO, "annotations": {"readOnlyHint": True}}, {**ECHO, "name": "write"}]}


def call_tool(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    global renamed
    text = arguments.get("text", "")
    match behaviour:
        case "dies":
            raise SystemExit("Traceback: the disk is on fire")
        case "huge-result":
            text = "x" * 5_000_000
        case "renames":
            renamed = True
            notify("tools/list_changed")
        case "env":
            text = json.dumps([dict(os.environ), os.getcwd()])
        case "contents":
            resource = {"uri": "file:///a.txt", "text": "the text of a file"}
            blob = {"uri": "file:///a.bin", "blob": "AAECAw=="}
            return {
                "content": [
                    {"type": "text", "text": "see:"},
                    {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"},
                    {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
                    {"type": "resource", "resource": resource},
                    {"type": "resource", "resource": blob},
                    {"type": "resource_link", "name": "b", "uri": "file:///b.txt"},
                ]
            }
        case "structured":
            return {"content": [], "structuredContent": {"城市": ["北京"]}}
        case "fails":
            return {"content": [{"type": "text", "text": "the disk is full"}], "isError": True}
        case "not-a-result":
            return {"contents": "?"}
    return {"content": [{"type": "text", "text": text}]}


def answer(request: dict[str, Any]) -> None:
    method, params = request["method"], request.get("params", {})
    if method == "initialize":
        result: dict[str, Any] = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "program", "version": "1"},
        }
    elif method == "tools/list":
        result = list_tools(params.get("cursor"))
    elif method == "tools/call" and behaviour == "deaf":
        return
    elif method == "tools/call" and behaviour == "refuses":
        return write({"id": request["id"], "error": {"code": -32000, "message": "not today"}})
    elif method == "tools/call":
        result = call_tool(params["name"], params.get("arguments", {}))
    else:
        return write({"id": request["id"], "error": {"code": -32601, "message": f"no method {method}"}})
    if behaviour == "garbled" and method == "tools/call":
        print('{"jsonrpc": "2.0", "id": ', flush=True)
    elif behaviour == "chatty":
        print("a line of log\n\n[1, 2]\n\x00\xff", flush=True)
        write({"id": 12345, "result": {}})
        write({"id": request["id"], "result": result})
    else:
        write({"id": request["id"], "result": result})


def requests() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            yield message


def main() -> None:
    match behaviour:
        case "slow":
            sys.stdin.read()
        case "exits":
            raise SystemExit("no config file")
        case "floods":
            threading.Thread(target=log_forever, daemon=True).start()
            threading.Thread(target=notify_forever, daemon=True).start()
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            print(os.getpid(), child.pid, file=sys.stderr, flush=True)
    for request in requests():
        answer(request)
    if behaviour == "stubborn":
        time.sleep(60)


if __name__ == "__main__":
    main()
