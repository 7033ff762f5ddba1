"""powerd over HTTP: `python -m tests.bench.served URL MODEL CLIENTS WORDS TOKENS LONG` prints its figures as JSON.

A driver of its own process, as clients are, and a cheap one: it shares two cores with what it measures. LONG prompts of
1,500 words arrive two seconds after the streams began.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

from tests.bench.figures import Stream, quantile
from tests.bench.prompts import prompt

LONG_WORDS, LONG_TOKENS, LONG_AFTER = 1500, 4, 2.0


class Client:
    """One streamed completion."""

    def __init__(self, address: tuple[str, int], model: str, words: int, tokens: int, seed: int) -> None:
        body = {
            "model": model,
            "prompt": prompt(words, seed),
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.8,
            "seed": seed + 1,
        }
        data = json.dumps(body).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}"
        self.socket = socket.create_connection(address)
        self.stream = Stream(time.perf_counter())
        self.socket.sendall(head.encode() + b"\r\n\r\n" + data)
        self.tail = b""

    def read(self) -> bool:
        """Take in what arrived; whether there may be more."""
        data = self.socket.recv(1 << 16)
        now = time.perf_counter()
        texts = data.count(b'"finish_reason":null')
        if texts:
            self.stream.add(now, texts)
        self.tail = (self.tail + data)[-2000:]
        return bool(data)

    def usage(self) -> int:
        """Completion tokens by the server's own count."""
        line = next(line for line in self.tail.split(b"data: ") if b'"choices":[]' in line)
        return int(json.JSONDecoder().raw_decode(line.decode())[0]["usage"]["completion_tokens"])


def drive(url: str, model: str, clients: int, words: int, tokens: int, late: int) -> dict[str, float]:
    """Run the scenario; tokens per second of the streams, and their gaps in milliseconds."""
    host, _, port = url.removeprefix("http://").partition(":")
    address = (host, int(port))
    streams = [Client(address, model, words, tokens, seed) for seed in range(clients)]
    long: list[Client] = []
    with selectors.DefaultSelector() as selector:
        for client in streams:
            selector.register(client.socket, selectors.EVENT_READ, client)
        begun = time.perf_counter()
        while selector.get_map():
            for key, _ in selector.select(0.05):
                if not key.data.read():
                    selector.unregister(key.fileobj)
            if late and not long and time.perf_counter() - begun > LONG_AFTER:
                long = [Client(address, model, LONG_WORDS, LONG_TOKENS, 99 + seed) for seed in range(late)]
                for client in long:
                    selector.register(client.socket, selectors.EVENT_READ, client)
    first = min(client.stream.marks[0][0] for client in streams)
    last = max(client.stream.marks[-1][0] for client in streams)
    gaps = [1000 * gap for client in streams for gap in client.stream.gaps]
    total = sum(client.usage() for client in streams)
    figures = {
        "tok_s": round((total - clients) / (last - first), 2),
        "first_ms": round(1000 * quantile((client.stream.first for client in streams), 0.5), 1),
        "gap_ms_p50": round(quantile(gaps, 0.5), 2),
        "gap_ms_p99": round(quantile(gaps, 0.99), 2),
        "gap_ms_max": round(max(gaps), 2),
    }
    if long:
        figures["long_first_ms"] = round(1000 * quantile((client.stream.first for client in long), 0.5), 1)
    return figures


if __name__ == "__main__":
    arguments = [int(text) for text in sys.argv[3:]]
    sys.stdout.write(json.dumps(drive(sys.argv[1], sys.argv[2], *arguments)) + "\n")
