"""A scripted Hugging Face hub on the loopback: the HTTP API that huggingface_hub calls, and a storage host beside it.

Statuses and headers are those of the real one: X-Error-Code, X-Repo-Commit, X-Linked-Etag, X-Linked-Size, and a 302 to
a signed address of another origin for large files.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
EARLIER = "beef" + "1" * 36


@dataclass
class Asked:
    """One request as the hub or the storage host saw it."""

    where: str  # hub, storage
    method: str
    path: str
    token: str
    range: str
    encoding: str  # the one accepted


@dataclass
class Repo:
    files: dict[str, bytes] = field(default_factory=dict)
    commit: str = COMMIT
    revisions: dict[str, str] = field(default_factory=dict)  # besides main and the commit itself
    gated: bool = False
    private: bool = False
    extra: list[dict[str, Any]] = field(default_factory=list)  # siblings that are only listed
    small: set[str] = field(default_factory=set)  # in git itself, not in LFS
    members: set[str] = field(default_factory=lambda: {"hf_member"})  # tokens that may see it

    def siblings(self) -> list[dict[str, Any]]:
        return [self._sibling(path, data) for path, data in self.files.items()] + self.extra

    def _sibling(self, path: str, data: bytes) -> dict[str, Any]:
        lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return {"rfilename": path, "size": len(data), "blobId": "a" * 40} | ({} if path in self.small else {"lfs": lfs})


Trick = Callable[["_Handler"], bool]


class Hub:
    """Serves `repos` by name. A trick sees every request first and says whether it answered it itself."""

    def __init__(self, tls: ssl.SSLContext | None = None, **repos: Repo) -> None:
        self.repos = {name.replace("__", "/").replace("_", "-"): repo for name, repo in repos.items()}
        self.asked: list[Asked] = []
        self.trick: Trick = lambda _handler: False
        self.tokens = {"hf_member", "hf_stranger"}
        self._scheme = "http" if tls is None else "https"
        self._servers = [_Server(self, "hub", tls), _Server(self, "storage", tls)]
        self._threads = [threading.Thread(target=each.serve_forever, args=(0.01,)) for each in self._servers]

    @property
    def endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._servers[0].server_port}"

    @property
    def storage(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._servers[1].server_port}"

    def blob(self, sha256: str) -> bytes | None:
        data = (data for repo in self.repos.values() for data in repo.files.values())
        return next((each for each in data if hashlib.sha256(each).hexdigest() == sha256), None)

    def __enter__(self) -> Hub:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub, role: str, tls: ssl.SSLContext | None) -> None:
        self.hub, self.role = hub, role
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        hub = self.server.hub
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        hub.asked.append(
            Asked(
                self.server.role,
                self.command,
                unquote(self.path),
                token,
                self.headers.get("range", ""),
                self.headers.get("accept-encoding", ""),
            )
        )
        if hub.trick(self):
            return
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.server.role == "storage":
            self._storage(parts[-1])
        elif parts[:2] == ["api", "models"]:
            self._model("/".join(parts[2:4]), parts[5] if parts[4:5] == ["revision"] else "main", token)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), token)
        else:
            self.refuse(404, "EntryNotFound")

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str = "", message: str = "") -> None:
        headers = {"Content-Type": "application/json"}
        headers |= {"X-Error-Code": code} if code else {}
        headers |= {"X-Error-Message": message} if message else {}
        self.answer(status, json.dumps({"error": message or code}).encode(), headers)

    def drip(self, pieces: int, pause: float) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(pieces):
            self.wfile.write(b" ")
            time.sleep(pause)

    def _repo(self, name: str, revision: str, token: str) -> tuple[Repo, str] | None:
        """The repository and the commit, or the refusal the real hub gives."""
        repo = self.server.hub.repos.get(name)
        if token and token not in self.server.hub.tokens:
            self.refuse(401, message="Invalid credentials in Authorization header")
        elif repo is None or (repo.private and token not in repo.members):
            if token:
                self.refuse(404, "RepoNotFound", "Repository not found")
            else:
                self.refuse(401, message="Invalid username or password.")
        else:
            commit = {"main": repo.commit, repo.commit: repo.commit}.get(revision, repo.revisions.get(revision))
            if commit is not None:
                return repo, commit
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return None

    def _model(self, name: str, revision: str, token: str) -> None:
        found = self._repo(name, revision, token)
        if found is not None:
            repo, commit = found
            siblings = repo.siblings()
            if "blobs" not in parse_qs(urlsplit(self.path).query):
                siblings = [{"rfilename": each["rfilename"]} for each in siblings]
            info = {"id": name, "sha": commit, "siblings": siblings, "gated": "auto" if repo.gated else False}
            self.answer(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _resolve(self, name: str, revision: str, path: str, token: str) -> None:
        found = self._repo(name, revision, token)
        if found is None:
            return
        repo, commit = found
        data = repo.files.get(path)
        if repo.gated and token not in repo.members:
            self.refuse(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        elif data is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
        elif path in repo.small:
            self._send(data, {"X-Repo-Commit": commit, "ETag": f'"{"a" * 40}"'})
        else:
            sha256 = hashlib.sha256(data).hexdigest()
            linked = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(data))}
            where = f"{self.server.hub.storage}/signed/{sha256}?Signature=s3cret"
            self.answer(302, b"", linked | {"Location": where})

    def _storage(self, sha256: str) -> None:
        data = self.server.hub.blob(sha256)
        if data is None:
            self.answer(404, b"")
        else:
            self._send(data, {"ETag": f'"{sha256}"'})

    def _send(self, data: bytes, headers: dict[str, str]) -> None:
        wanted = self.headers.get("range", "")
        if not wanted:
            self.answer(200, data, headers)
            return
        start, _, end = wanted.removeprefix("bytes=").partition("-")
        piece = data[int(start) : int(end) + 1 if end else len(data)]
        said = f"bytes {start}-{int(start) + len(piece) - 1}/{len(data)}"
        self.answer(206, piece, headers | {"Content-Range": said})

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
