"""A real powerd in its own process, on a free port and in its own directory, for the wire tests and the benchmark."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

SCRUBBED = ("POWER_", "OLLAMA_", "PYTHONDONTWRITEBYTECODE")  # a user has bytecode compiled once


class Powerd:
    """`with Powerd(directory, models=...) as powerd:` starts it, waits until it answers, and kills it at the end."""

    def __init__(self, directory: Path, *, models: str | None = None, config: str = "", **environ: str) -> None:
        self.directory = directory
        self.models = directory / "models.yaml"
        self.socket = directory / "control.sock"
        self._config = directory / "powerd.yaml"
        self._config.write_text(config)
        if models is not None:
            self.models.write_text("apiVersion: powerd/v1\n" + models)
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(SCRUBBED)},
            "HOME": str(directory),
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.opened = 0.0  # time.perf_counter() when its sockets were there

    # ------------------------------------------------------------ life

    def __enter__(self) -> Powerd:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def command(self, *flags: str) -> list[str]:
        """The daemon's command line."""
        return [
            *(sys.executable, "-m", "powerd", "--config", str(self._config), "--models", str(self.models)),
            *("--state", str(self.directory / "state"), "--socket", str(self.socket), "--listen", "127.0.0.1:0"),
            *flags,
        ]

    def start(self) -> None:
        """Start it and wait until the control socket answers."""
        process = self.spawn()
        deadline = time.monotonic() + 30
        while not self._listens():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"powerd did not start:\n{self.log()}")
            time.sleep(0.01)
        self.opened = time.perf_counter()
        self.url = "http://" + self.status()["node"]["listen"]

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it and wait for nothing."""
        with (self.directory / "log").open("ab") as log:
            self.process = process = subprocess.Popen(self.command(), stderr=log, stdout=log, env=self._environ)
        return process

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon alone."""
        os.kill(self.pid, number)

    def wait_exit(self, timeout: float = 20) -> int:
        """The exit code."""
        assert self.process is not None
        return self.process.wait(timeout)

    def log(self) -> str:
        """Everything it said so far."""
        return (self.directory / "log").read_text(errors="replace")

    # ------------------------------------------------------------ the control socket

    def control(self, method: str, path: str, body: object = None, timeout: float = 60) -> Any:
        """One call on the control socket; the decoded answer."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=timeout) as client:
            answer = client.request(method, f"http://powerd{path}", json=body)
            return answer.json()

    def status(self) -> Any:
        """`powerctl status --json`."""
        return self.control("GET", "/v1/status", timeout=10)

    def model(self, name: str) -> Any:
        """The status of one declared model."""
        return next(model for model in self.status()["models"] if model["name"] == name)

    def condition(self, name: str, model: str) -> Any:
        """One condition of a model."""
        return next(item for item in self.model(model)["conditions"] if item["type"] == name)

    def ps(self) -> Any:
        """`powerctl ps --json`."""
        return self.control("GET", "/v1/ps")

    def wait(self, condition: str, model: str = "", timeout: float = 30) -> Any:
        """Wait for a condition; fails with the condition's message."""
        reply = self.control(
            "POST", "/v1/wait", {"condition": condition, "model": model, "timeout": timeout}, timeout + 5
        )
        assert reply.get("met"), f"{condition} of {model or 'the node'}: {reply}\n{self.log()[-3000:]}"
        return reply

    def declare(self, models: str) -> None:
        """Write models.yaml the way editors do, and have it taken over at once."""
        new = self.models.with_suffix(".new")
        new.write_text("apiVersion: powerd/v1\n" + models)
        new.rename(self.models)

    def powerctl(
        self, *arguments: str, stdin: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run powerctl against it."""
        return subprocess.run(
            [sys.executable, "-m", "powerd.ctl", "--socket", str(self.socket), *arguments],
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self._environ,
            check=False,
        )

    # ------------------------------------------------------------ the APIs

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        """One POST over TCP."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(self.url + path, content=content, headers=headers, timeout=60)

    def client_delete(self, model: str) -> httpx.Response:
        """DELETE /api/delete over TCP."""
        return httpx.request("DELETE", self.url + "/api/delete", json={"model": model}, timeout=60)

    def get(self, path: str) -> httpx.Response:
        """One GET over TCP."""
        return httpx.get(self.url + path, timeout=60)

    def metric(self, name: str, **labels: str) -> float:
        """One sample of /metrics; 0 when it is not there."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        for line in self.get("/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(label in series for label in wanted):
                return float(value)
        return 0.0

    def connection(self) -> HTTPConnection:
        """A raw HTTP connection, for tests that hang up."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return HTTPConnection(host, int(port), timeout=60)
