"""A hub on this machine, as far as huggingface_hub talks to one; and a cache that is filled without any."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Files = Mapping[str, bytes]
MODEL: Files = {"config.json": b"{}", "model.safetensors": b"weights"}


@dataclass(frozen=True)
class Request:
    """What was asked of the hub; `first_byte` is where a resumed download goes on."""

    method: str
    path: str
    first_byte: int
    token: str | None


@dataclass
class FakeHub:
    """Repositories with their commits.

    Attributes:
        gated: Repositories that only `token` may read.
        hidden: Repositories that are said not to exist without `token`.
        dropped: File → bytes after which the connection is cut, once.
        refused: Files that nobody gets.
        requests: Everything that was asked, oldest first.
    """

    token: str = "hf_" + "fakeTokenOfNobody42"
    gated: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    dropped: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    endpoint: str = ""
    _commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    _references: dict[str, dict[str, str]] = field(default_factory=dict)

    def push(self, name: str, files: Files, revision: str = "main", *, kind: str = "model") -> str:
        """Add a commit to a repository, move the branch there, and return the commit."""
        key = f"{kind}s/{name}"
        commit = hashlib.sha1(repr((key, sorted(files.items()))).encode()).hexdigest()  # noqa: S324
        self._commits.setdefault(key, {})[commit] = dict(files)
        self._references.setdefault(key, {})[revision] = commit
        return commit

    def downloads(self) -> list[str]:
        """Names of the files that were downloaded, in order; one that went on later is named again."""
        return [
            request.path.split("/resolve/")[1].split("/", 1)[1]
            for request in self.requests
            if request.method == "GET" and "/resolve/" in request.path
        ]

    def find(self, key: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that a revision means, and its files."""
        commit = self._references.get(key, {}).get(revision, revision)
        files = self._commits.get(key, {}).get(commit)
        return None if files is None else (commit, files)

    def knows(self, key: str) -> bool:
        return key in self._commits


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Let the hub answer at `hub.endpoint` until the block ends."""

    class Handler(_Handler):
        fake = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fill_cache(
    cache: Path, name: str, files: Files = MODEL, *, kind: str = "model", revision: str = "main"
) -> Path:
    """Put a repository into a cache as if it had been fetched; return the folder of its files."""
    repository = cache / f"{kind}s--{name.replace('/', '--')}"
    commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()  # noqa: S324
    folder = repository / "snapshots" / commit
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    reference = repository / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit)
    return folder


class _Handler(BaseHTTPRequestHandler):
    fake: FakeHub
    # One request a connection: none that a client keeps open may outlive the hub.
    protocol_version = "HTTP/1.0"

    def log_message(self, format: str, *args: Any) -> None:
        """The requests are kept, not printed."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        first_byte = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        self.fake.requests.append(Request(self.command, path, first_byte, token if scheme else None))
        if path.startswith("/api/"):
            kind, *rest = path.removeprefix("/api/").split("/")
            for what in ("revision", "tree"):
                if what in rest:
                    place = rest.index(what)
                    self._about("/".join([kind, *rest[:place]]), what, "/".join(rest[place + 1 :]))
                    return
        elif "/resolve/" in path:
            name, rest_of_path = path[1:].split("/resolve/")
            revision, file = rest_of_path.split("/", 1)
            key = name if name.startswith("datasets/") else f"models/{name}"
            found = self._found(key, revision)
            if found:
                self._send_file(*found, file, first_byte)
            return
        self._send(404, b"{}")

    def _about(self, key: str, what: str, revision: str) -> None:
        found = self._found(key, revision)
        if found is None:
            return
        commit, files = found
        if what == "revision":
            siblings = [{"rfilename": path, "size": len(content)} for path, content in files.items()]
            value: Any = {"id": key.split("/", 1)[1], "sha": commit, "siblings": siblings}
        else:
            value = [
                {"type": "file", "path": path, "size": len(content), "oid": _etag(content)}
                for path, content in files.items()
            ]
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _found(self, key: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and its files, or None once an error has been answered."""
        name = key.split("/", 1)[1]
        may_read = self.headers.get("Authorization") == f"Bearer {self.fake.token}"
        if "Authorization" in self.headers and not may_read:
            self._send(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif not self.fake.knows(key) or (name in self.fake.hidden and not may_read):
            # Without a token the real hub does not tell what is missing from what is private.
            self._send(404 if may_read else 401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif name in self.fake.gated and not may_read:
            self._send(401, b"{}", {"X-Error-Code": "GatedRepo"})
        else:
            found = self.fake.find(key, revision)
            if found is None:
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return found
        return None

    def _send_file(self, commit: str, files: dict[str, bytes], file: str, first_byte: int) -> None:
        if file not in files:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        if file in self.fake.refused:
            self._send(403, b"{}", {"X-Error-Message": "not now"})
            return
        content = files[file]
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if first_byte:
            headers["Content-Range"] = f"bytes {first_byte}-{len(content) - 1}/{len(content)}"
        cut = self.fake.dropped.pop(file, None) if self.command == "GET" else None
        self._send(206 if first_byte else 200, content[first_byte:], headers, cut=cut)

    def _send(
        self, status: int, content: bytes, headers: Mapping[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()  # noqa: S324 (git's own hash of a file has this length)
