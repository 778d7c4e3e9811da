"""Local stand-ins for the two hubs: enough of their HTTP interfaces for their own libraries, and faults on demand."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandIn(ThreadingHTTPServer):
    """Serves `repositories` ({id: {file: bytes}}), lets tests order faults, and remembers what was asked."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.withheld: set[str] = set()
        """Files that are listed, but not given."""
        self.requests: list[str] = []
        """"GET /path" or, for a range, "GET /path bytes=5-"."""
        self.cuts: list[int] = []
        """Each file transfer takes the next number from here and breaks off after so many bytes."""
        self.is_silent = False
        """Whether to answer nothing until the end."""
        self.ended = threading.Event()
        self.status: int | None = None
        """Answer everything with this status."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        requested = self.headers.get("Range", "")
        self.server.requests.append(f"{self.command} {self.path} {requested}".strip())
        if self.server.is_silent:
            self.server.ended.wait()
        if self.server.status:
            self.answer(b"", status=self.server.status)
        else:
            self.route(unquote(urlsplit(self.path).path), parse_qs(urlsplit(self.path).query))

    def route(self, path: str, query: dict[str, list[str]]) -> None:
        raise NotImplementedError

    def answer(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if status < 300 and "ETag" in headers and self.server.cuts:
            self.wfile.write(body[: self.server.cuts.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(body)

    def answer_json(self, document: Any) -> None:
        self.answer(json.dumps(document).encode(), Content_Type="application/json")

    def answer_file(self, content: bytes, **headers: str) -> None:
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if first and self.command == "GET":
            start = int(first[1])
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(content[start:], status=206, **headers)
        else:
            self.answer(content, **headers)


class FilesHandler(_Handler):
    """Any site: its files stand in the repository "", by their paths."""

    def route(self, path: str, query: dict[str, list[str]]) -> None:
        content = self.server.repositories.get("", {}).get(path)
        if content is None:
            return self.answer(b"", status=404)
        self.answer_file(content)


class HuggingFaceHandler(_Handler):
    API: ClassVar = re.compile(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)")
    FILE: ClassVar = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")

    def route(self, path: str, query: dict[str, list[str]]) -> None:
        path = path if "/tree/" in path or "/revision/" in path or "/resolve/" in path else f"{path}/revision/main"
        match = self.API.fullmatch(path) or self.FILE.fullmatch(path)
        if not match or match[1] not in self.server.repositories:
            return self.answer(b"", status=404, X_Error_Code="RepoNotFound")
        files = self.server.repositories[match[1]]
        if match.re is self.FILE:
            return self.resolve(match[1], revision=match[2], name=match[3])
        if match[3] not in ("main", COMMIT):
            return self.answer(b"", status=404, X_Error_Code="RevisionNotFound")
        if match[2] == "tree":
            listed = [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40} for name, content in files.items()
            ]
            return self.answer_json(listed)
        siblings = [{"rfilename": name, "size": len(content), "blobId": "0" * 40} for name, content in files.items()]
        return self.answer_json({"id": match[1], "sha": COMMIT, "siblings": siblings, "tags": [], "private": False})

    def resolve(self, repository: str, *, revision: str, name: str) -> None:
        if repository in self.server.gated:
            return self.answer(b"", status=403, X_Error_Code="GatedRepo")
        if revision not in ("main", COMMIT):
            return self.answer(b"", status=404, X_Error_Code="RevisionNotFound")
        content = self.server.repositories[repository].get(name)
        if content is None or name in self.server.withheld:
            return self.answer(b"", status=404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        self.answer_file(content, X_Repo_Commit=COMMIT)


class ModelScopeHandler(_Handler):
    LIST: ClassVar = re.compile(r"/api/v1/models/([^/]+/[^/]+)/repo/files")
    FILE: ClassVar = re.compile(r"/api/v1/models/([^/]+/[^/]+)/repo")

    def route(self, path: str, query: dict[str, list[str]]) -> None:
        match = self.LIST.fullmatch(path) or self.FILE.fullmatch(path)
        if not match or match[1] not in self.server.repositories:
            return self.answer(b'{"Code": 10010205001, "Message": "no such model"}', status=404)
        files = self.server.repositories[match[1]]
        if match.re is self.FILE:
            return self.answer_file(files[query["FilePath"][0]])
        listed = [
            {
                "Path": name,
                "Name": name,
                "Type": "blob",
                "Size": len(content),
                "Sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in files.items()
        ]
        self.answer_json({"Code": 200, "Success": True, "Data": {"Files": listed}})


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[StandIn]:
    server = StandIn(handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
