"""A web server on the loopback with one file, its ETag, and how often it was asked."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebFile:
    """`data` is what it serves; `asked` counts requests."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked = 0
        self.url = ""


@contextmanager
def serving(data: bytes) -> Iterator[WebFile]:
    """Serve `data` at WebFile.url until the block ends."""
    file = WebFile(data)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file.asked += 1
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(file.data).hexdigest()[:16]}"')
            self.send_header("Content-Length", str(len(file.data)))
            self.end_headers()
            self.wfile.write(file.data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    file.url = f"http://127.0.0.1:{server.server_address[1]}/m.gguf"
    try:
        yield file
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
