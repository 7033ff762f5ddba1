"""Real registries on the loopback: docker-registry open, with basic and with token auth, and nginx in front of them."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

USER, PASSWORD = "alice", "s3cret"
SERVICE, ISSUER = "lab-registry", "lab-issuer"

_OPEN = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}/data}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "127.0.0.1:{port}", secret: lab}}
"""
_BASIC = "auth: {{htpasswd: {{realm: lab, path: {root}/htpasswd}}}}\n"
_TOKEN = """\
auth:
  token: {{realm: "{realm}", service: lab-registry, issuer: lab-issuer, rootcertbundle: {root}/token.crt}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}")


@contextlib.contextmanager
def running(*command: str | Path, port: int, cwd: Path) -> Iterator[None]:
    with (cwd / f"{port}.log").open("wb") as log:
        environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
        process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
    try:
        wait_for(port)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def registry(root: Path, extra: str = "", **values: object) -> Iterator[str]:
    """Yields host:port."""
    port = free_port()
    root.mkdir(exist_ok=True)
    (root / "config.yml").write_text((_OPEN + extra).format(root=root, port=port, **values))
    with running("docker-registry", "serve", root / "config.yml", port=port, cwd=root):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def basic_registry(root: Path) -> Iterator[str]:
    root.mkdir()
    line = subprocess.run(["htpasswd", "-Bbn", "-C", "4", USER, PASSWORD], capture_output=True, check=True).stdout
    (root / "htpasswd").write_bytes(line)
    with registry(root, _BASIC) as host:
        yield host


class TokenServer:
    """A token server as docker's: signs what it is asked for, to whoever knows the password."""

    def __init__(self, *, anonymous: bool = True, lifetime: float = 60.0) -> None:
        self.anonymous = anonymous
        self.lifetime = lifetime
        self.asked: list[tuple[str, str]] = []  # path, Authorization
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._certify()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Authorization", "")))
                body = outer.answer(*outer.asked[-1])
                self.send_response(200 if body else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> TokenServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, authorization: str) -> bytes:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if authorization != f"Basic {pair}" and not (self.anonymous and not authorization):
            return b""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": USER, "aud": SERVICE, "nbf": now - 10, "iat": now, "jti": str(now)}
        return json.dumps({"token": self._jwt(claims | {"exp": now + int(self.lifetime), "access": access})}).encode()

    def _jwt(self, claims: dict[str, object]) -> str:
        chain = [base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()]
        parts = [json.dumps(part).encode() for part in ({"alg": "ES256", "typ": "JWT", "x5c": chain}, claims)]
        signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))
        signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=")
        return f"{signed.decode()}.{signature.decode()}"

    def _certify(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ISSUER)])
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )


@contextlib.contextmanager
def token_registry(root: Path, tokens: TokenServer) -> Iterator[str]:
    root.mkdir()
    (root / "token.crt").write_bytes(tokens.certificate.public_bytes(serialization.Encoding.PEM))
    with registry(root, _TOKEN, realm=f"http://{tokens.host}/token") as host:
        yield host


def certificates(root: Path) -> Path:
    """A private CA's certificate; srv.crt and srv.key beside it are for localhost and 127.0.0.1."""
    ec_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    (root / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE")
    for command in (
        f"req -x509 {ec_key} -days 2 -subj /CN=lab-ca -keyout ca.key -out ca.crt "
        "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign",
        f"req {ec_key} -subj /CN=localhost -keyout srv.key -out srv.csr",
        "x509 -req -in srv.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out srv.crt -extfile ext",
    ):
        subprocess.run(["openssl", *command.split()], cwd=root, check=True, capture_output=True, timeout=30)
    return root / "ca.crt"


@contextlib.contextmanager
def nginx(root: Path, servers: str, port: int) -> Iterator[None]:
    """Runs `servers` (nginx's own words); ready when `port` is."""
    root.mkdir(exist_ok=True)
    temporary = "".join(
        f"{kind}_temp_path {root}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (root / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log; "
        + ("user root; " if os.geteuid() == 0 else "")
        + "events { worker_connections 256; } http { "
        f"log_format sent '$request_uri $status $body_bytes_sent $http_range'; access_log {root}/access.log sent; "
        f"client_max_body_size 0; {temporary} {servers} }}"
    )
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with running(program, "-p", root, "-c", root / "nginx.conf", port=port, cwd=root):
        yield
