"""MCP servers as tools: in this process, as programs and over HTTP. What a server does wrong has one clear outcome."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest

pytest.importorskip("mcp", reason="needs the extra tools")
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import Tool, ToolAnnotations

from qwen7b.errors import MissingExtraError, Qwen7bError, SettingError, ToolServerError
from qwen7b.tools import McpServer, Toolbox, ToolCall, ToolFailure
from qwen7b.tools.mcp_server import read_server_option
from qwen7b.tools.mcp_text import define_tools

PROGRAM = Path(__file__).parents[1] / "mcp_program.py"
Address = tuple[str, list[dict[str, str]]]


def program(behaviour: str = "plain", **settings) -> McpServer:
    return McpServer([sys.executable, str(PROGRAM), behaviour], **settings)


def adder() -> MCPServer:
    """A server that adds, and can be told to rename its tool."""
    server = MCPServer("adder")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def rename(to: str, ctx: Context) -> str:
        server.remove_tool("add")
        server.add_tool(add, name=to)
        await ctx.notify_tools_changed()
        return f"add is {to} now"

    @server.tool()
    async def block(seconds: float) -> str:
        time.sleep(seconds)  # the whole loop waits
        return "done"

    return server


@pytest.fixture
def address() -> Iterator[Address]:
    """The URL of a server over HTTP, and the headers of the requests that it got."""
    app = adder().streamable_http_app()
    seen: list[dict[str, str]] = []

    async def noting(scope, receive, send) -> None:
        if scope["type"] == "http":
            seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await app(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(noting, port=0, log_level="error", ws="none", timeout_graceful_shutdown=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp", seen
    server.should_exit = True
    thread.join()


Respond = Callable[[BaseHTTPRequestHandler, dict], None]


@pytest.fixture
def answering() -> Iterator[Callable[[Respond], Address]]:
    """A function that starts a server which answers by a function, and gives its URL and its requests' headers."""
    servers: list[ThreadingHTTPServer] = []

    def start(respond: Respond) -> Address:
        seen: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append(dict(self.headers))
                respond(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,)).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/mcp", seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(to: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    to.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        to.send_header(name.replace("_", "-"), value)
    to.end_headers()
    to.wfile.write(body)


def serve_badly(to: BaseHTTPRequestHandler, request: dict) -> None:
    """A server over HTTP whose calls are answered as their argument says."""
    results = {
        "initialize": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bad", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "call", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": "x" * 2_000_000}]},
    }
    how = request.get("params", {}).get("arguments", {}).get("how")
    message = {"jsonrpc": "2.0", "id": request.get("id"), "result": results.get(request["method"], {})}
    if request["method"] not in results:
        send(to, 404 if "id" in request else 202)
    elif how == "disconnect":
        to.close_connection = True
    elif how == "error":
        send(to, 503, b"<html>", Content_Type="text/html")
    elif how == "garble":
        send(to, 200, b"{", Content_Type="application/json")
    elif how == "cut":
        send(to, 200, b"data: \n\n", Content_Type="text/event-stream")
    elif how == "stream":
        send(to, 200, f"data: {json.dumps(message)}\n\n".encode(), Content_Type="text/event-stream")
    else:
        send(to, 200, json.dumps(message).encode(), Content_Type="application/json")


def started() -> list[psutil.Process]:
    """The child processes, without the one that multiprocessing starts once and keeps."""
    tracker = vars(resource_tracker._resource_tracker).get("_pid")
    return [child for child in psutil.Process().children() if child.pid != tracker]


def wait_until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.01)


def names(server: McpServer) -> list[str]:
    return [definition.name for definition in server.definitions]


def test_a_server_in_this_process() -> None:
    with McpServer(adder()) as server:
        add = server.definitions[0]
        assert (add.name, add.description, add.schema["required"]) == ("add", "Add two numbers.", ["a", "b"])
        assert server.call("add", {"a": 1, "b": 2}) == "3"
        assert server.is_read_only("add") and not server.is_read_only("rename") and not server.is_read_only("gone")
        with pytest.raises(ToolFailure, match=r"^Error executing tool add"):
            server.call("add", {"a": "x", "b": 2})


def test_a_server_is_used_from_threads_and_from_coroutines() -> None:
    with McpServer(adder()) as server, ThreadPoolExecutor(8) as pool:
        sums = pool.map(lambda n: server.call("add", {"a": n, "b": 1}), range(32))
        assert [*sums] == [str(n + 1) for n in range(32)]

        async def add() -> list[str]:
            later = [asyncio.to_thread(server.call, "add", {"a": n, "b": 2}) for n in range(4)]
            return [server.call("add", {"a": 9, "b": 9}), *await asyncio.gather(*later)]

        assert asyncio.run(add()) == ["18", "2", "3", "4", "5"]


@pytest.mark.parametrize("kind", ["in this process", "over HTTP"])
def test_a_renamed_tool_has_its_new_name_only(kind: str, address: Address) -> None:
    with McpServer(adder() if kind == "in this process" else address[0]) as server:
        assert server.call("rename", {"to": "plus"}) == "add is plus now"
        wait_until(lambda: "add" not in names(server))
        assert server.call("plus", {"a": 1, "b": 2}) == "3"
        with pytest.raises(
            ToolFailure, match=r"^Error: there is no tool 'add' .any more.: the tools are rename, block, p"
        ):
            server.call("add", {"a": 1, "b": 2})


def test_a_program() -> None:
    with program() as server:
        assert names(server) == ["echo", "write"]
        assert server.is_read_only("echo") and not server.is_read_only("write")
        assert server.call("echo", {"text": "你好\n"}) == "你好\n"
        (child,) = started()
    assert not child.is_running()


def test_a_server_starts_when_it_is_first_used() -> None:
    server = program()
    assert started() == []
    server.close()
    with pytest.raises(ToolServerError, match="was closed: make another"):
        server.definitions  # noqa: B018


def test_a_program_sees_only_the_variables_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    line = f"NAME='a b' {sys.executable} {PROGRAM} env"
    with McpServer(line, env={"OTHER": "c"}, folder=tmp_path) as server:
        variables, folder = json.loads(server.call("echo", {}))
    assert (variables["NAME"], variables["OTHER"], folder) == ("a b", "c", str(tmp_path))
    assert "MY_TOKEN" not in variables and "NAME" not in server.label


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("contents", "see:\n[image image/png, 8 bytes]\n[audio audio/wav, 3 bytes]\nthe text of a file\n"
         "[resource file:///a.bin, of no stated type, 4 bytes]\n[resource b: file:///b.txt]"),
        ("structured", '{"城市": ["北京"]}'),
        ("chatty", "hi"),
        ("huge-result", "x" * 5_000_000),
    ],
)  # fmt: skip
def test_a_result_is_text(behaviour: str, expected: str) -> None:
    with program(behaviour) as server:
        assert server.call("echo", {"text": "hi"}) == expected


@pytest.mark.parametrize(("behaviour", "message"), [("fails", "the disk is full"), ("refuses", "not today")])
def test_what_a_tool_does_wrong_is_told_to_the_model(behaviour: str, message: str) -> None:
    with program(behaviour) as server:
        result = Toolbox([server]).run(ToolCall("echo", '{"text": "hi"}'))
        assert (result.text, result.is_error) == (f"Error: {message}", True)


def test_a_server_that_floods_is_answered_for() -> None:
    with program("floods") as server:
        for text in ("a", "b", "c"):
            assert server.call("echo", {"text": text}) == text


@pytest.mark.parametrize(
    ("behaviour", "settings", "message"),
    [
        ("dies", {}, "ended by itself; its log ends: Traceback: the disk is on fire: start it anew"),
        ("deaf", {"call_seconds": 0.2}, "did not answer the call of echo within 0.2 s: more time is given by call_sec"),
        ("garbled", {"call_seconds": 0.2}, "within 0.2 s; it wrote '{\"jsonrpc.*' where a message of the protocol bel"),
        ("not-a-result", {}, "did not answer the call of echo: what it sent is not of the protocol: content: Field"),
    ],
)
def test_a_call_that_has_no_answer_names_the_server(behaviour: str, settings, message: str) -> None:
    with program(behaviour, **settings) as server:
        with pytest.raises(ToolServerError, match=f"the MCP server '.*mcp_program.py {behaviour}' .*{message}"):
            server.call("echo", {"text": "hi"})
        if behaviour == "dies":
            assert started() == []
            assert names(server) == ["echo", "write"]
            with pytest.raises(ToolServerError, match="ended by itself"):
                server.call("echo", {"text": "hi"})


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("slow", "did not start within 0.3 s: more time is given by start_seconds"),
        ("exits", "did not start: it ended at once; its log ends: no config file"),
        (
            "no-schema",
            "did not list its tools: what it sent is not of the protocol: tools.0.inputSchema: Field required",
        ),
        ("endless-pages", "lists over 1,000 tools"),
    ],
)
def test_a_server_that_offers_no_tools_is_named(behaviour: str, message: str) -> None:
    seconds = 0.3 if behaviour == "slow" else 20.0
    with pytest.raises(ToolServerError, match=message):
        program(behaviour, start_seconds=seconds).__enter__()
    wait_until(lambda: started() == [])


def test_all_pages_of_tools_are_read_and_any_name_is_taken() -> None:
    with program("pages") as server:
        assert names(server) == ["echo0", "echo1", "echo2"]
    server = program("names")
    with pytest.warns(UserWarning, match="is left out: .* must have a 'name' of one line"):
        assert names(server) == ["files.read", "查询天气", "a b"]
    with server:
        assert server.call("查询天气", {"text": "北京"}) == "北京"


def test_a_program_that_renames_its_tools() -> None:
    with program("renames") as server:
        assert (names(server), server.call("echo", {"text": "a"})) == (["echo"], "a")
        with pytest.raises(ToolFailure, match=r"there is no tool 'echo' .any more.: the tools are repeat"):
            server.call("echo", {"text": "a"})
        assert names(server) == ["repeat"]


def test_tools_that_cannot_be_offered_are_left_out_aloud() -> None:
    server = program("bad-schemas")
    with pytest.warns(UserWarning, match="is left out") as warned:
        assert names(server) == ["self", "echo"]
    server.close()
    said = [str(warning.message) for warning in warned]
    assert [text.split(" ")[2] for text in said] == ["wrong", "huge", "echo"]
    for text, reason in zip(said, ["properties/text/type: 'strin'", "288,975 characters", "listed twice"], strict=True):
        assert reason in text


def test_a_schema_of_a_server_in_this_process_may_be_too_deep() -> None:
    deep: dict[str, object] = {"type": "object"}
    for _ in range(300):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.warns(UserWarning, match="the tool deep of the MCP server 'mine' is left out: its schema is too deep"):
        assert define_tools([Tool(name="deep", input_schema=deep)], prefix="", label="mine") == {}


def test_two_servers_of_one_tool_are_told_apart_by_a_prefix() -> None:
    with McpServer(adder(), prefix="a.") as first, program(prefix="b.") as second:
        assert names(first)[0] == "a.add" and names(second) == ["b.echo", "b.write"]
        assert first.call("a.add", {"a": 1, "b": 1}) == "2" and second.call("b.echo", {"text": "c"}) == "c"
        assert second.is_read_only("b.echo") and not second.is_read_only("echo")
        with pytest.raises(SettingError, match=r"2 tools have the name 'a.add'"):
            Toolbox([first, McpServer(adder(), prefix="a.")])


def test_a_server_in_this_process_that_blocks_its_loop_is_given_up() -> None:
    server = McpServer(adder(), call_seconds=0.1)
    with pytest.raises(ToolServerError, match=r"the MCP server 'adder' did not answer the call of block within 0.1 s"):
        server.call("block", {"seconds": 1.2})
    server.close()


@pytest.mark.parametrize("behaviour", ["deaf", "slow"])
def test_ctrl_c_ends_the_waiting_and_nothing_is_left(behaviour: str) -> None:
    with program("plain" if behaviour == "slow" else behaviour) as other:
        server = program("slow") if behaviour == "slow" else other
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            server.call("echo", {"text": "a"})
        server.close()
    assert started() == []


def test_a_program_ends_when_it_is_no_longer_used() -> None:
    server = program()
    server.definitions  # noqa: B018
    del server
    gc.collect()
    assert started() == []


@pytest.mark.parametrize("ending", ["1/0", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_program_ends_with_the_interpreter_and_not_with_its_fork(ending: str) -> None:
    code = f"""
import os, psutil, signal, sys
from qwen7b.tools import McpServer, Toolbox, ToolCall, ToolFailure
server = McpServer([sys.executable, {str(PROGRAM)!r}])
server.definitions
print(psutil.Process().children()[0].pid, flush=True)
if not os.fork():
    sys.exit()
os.wait()
print(server.call("echo", {{"text": "still here"}}), flush=True)
{ending}
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid, said = result.stdout.splitlines()
    wait_until(lambda: not psutil.pid_exists(int(pid)))
    assert said == "still here"
    errors = [line for line in result.stderr.splitlines() if "Error" in line]
    assert errors == (["ZeroDivisionError: division by zero"] if ending == "1/0" else [])


def test_a_program_that_will_not_end_is_killed_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("PROCESS_TERMINATION_TIMEOUT", "FORCE_KILL_TIMEOUT"):
        monkeypatch.setattr(f"mcp.client.stdio.{limit}", 0.2)
    server = program("stubborn")
    server.definitions  # noqa: B018
    (child,) = started()
    children = [child, *child.children(recursive=True)]
    assert len(children) == 2
    server.close()
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_a_server_over_http_gets_the_headers(address: Address) -> None:
    url, seen = address
    with McpServer(f"{url}?key=1", headers={"Authorization": "Bearer abc"}) as server:
        assert server.call("add", {"a": 1, "b": 2}) == "3"
        assert server.label == url
    assert seen and {headers["authorization"] for headers in seen} == {"Bearer abc"}


def test_headers_do_not_follow_a_redirect_to_another_host(address: Address, answering) -> None:
    url, seen = address
    moved, requests = answering(lambda to, request: send(to, 307, Location=f"{url}?secret=1"))
    with pytest.raises(ToolServerError, match=f"'{moved}' did not start: Redirect to {url} not followed"):
        McpServer(moved, headers={"Authorization": "Bearer abc"}).__enter__()
    assert seen == [] and requests[0]["Authorization"] == "Bearer abc"


@pytest.mark.parametrize(("status", "words"), [(401, "401 Unauthorized"), (503, "503 Service Unavailable")])
def test_a_server_that_refuses_says_how(status: int, words: str, answering) -> None:
    with pytest.raises(ToolServerError, match=f"did not start: .* \\(it answered with {words}\\)"):
        McpServer(answering(lambda to, request: send(to, status))[0]).__enter__()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("error", "answered with 503 Service Unavailable: "),
        ("garble", "gave no answer: Failed to parse JSON response: "),
        ("cut", "gave no answer: SSE stream ended without a response"),
        ("disconnect", "failed: Server disconnected without sending a response: the next call connects anew"),
    ],
)
def test_after_a_call_over_http_that_failed_the_next_is_answered(how: str, message: str, answering) -> None:
    url, _ = answering(serve_badly)
    with McpServer(url) as server:
        with pytest.raises(ToolServerError, match=f"the MCP server '{url}' {message}"):
            server.call("call", {"how": how})
        assert names(server) == ["call"]
        assert len(server.call("call", {"how": "stream"})) == 2_000_000


def test_a_server_over_http_that_is_gone_is_named() -> None:
    with pytest.raises(ToolServerError, match=r"the MCP server 'http://127.0.0.1:9/mcp' did not start: All connection"):
        McpServer("http://user:secret@127.0.0.1:9/mcp?token=1").__enter__()


@pytest.mark.parametrize(
    ("server", "settings", "message"),
    [
        ("", {}, "must name a program, found ''"),
        ("A=1", {}, "must name a program, found 'A=1'"),
        ([], {}, "must name a program"),
        (["a", 3], {}, "must name a program"),
        ("a 'b", {}, "cannot be read .No closing quotation."),
        ("a\0", {}, "null character"),
        (3, {}, "is a command, a URL or a server object of the mcp package, found 3"),
        (b"a", {}, "is a command, a URL or a server object"),
        ("http://", {}, "must name a host"),
        ("ftp://a/mcp", {}, "begins with http:// or https://, found 'ftp://a/mcp'"),
        ("https://a:b/mcp", {}, "is not valid"),
        ("https://a/mcp", {"env": {}}, "env goes with a command of an MCP server, and this is none: leave env out"),
        ("program", {"headers": {}}, "headers goes with a URL"),
        ("program", {"start_seconds": 0}, "start_seconds must be a number above 0, found 0"),
        ("program", {"call_seconds": float("inf")}, "call_seconds must be"),
    ],
)
def test_what_names_no_server_is_refused(server, settings, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        McpServer(server, **settings)


def test_a_command_that_is_not_installed_is_named() -> None:
    with pytest.raises(
        ToolServerError, match="'no-such-program -x' did not start: there is no 'no-such-program': is it"
    ):
        McpServer("no-such-program -x").__enter__()


def test_an_option_names_a_server_and_its_prefix() -> None:
    server = read_server_option("files_: npx server /tmp")
    assert repr(server) == "McpServer('npx server /tmp')" and server._prefix == "files_"
    assert repr(read_server_option("https://a/mcp?k=1")) == "McpServer('https://a/mcp')"


def test_without_mcp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "qwen7b.tools.mcp_connection", raising=False)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(MissingExtraError, match=r"mcp is not installed: run .*tools"):
        program().__enter__()


def test_the_errors_are_the_users_own() -> None:
    assert issubclass(ToolServerError, Qwen7bError)
