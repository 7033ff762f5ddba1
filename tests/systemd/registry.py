"""A registry that asks for a password, as a service of the machine on its loopback: plain HTTP."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from tests.systemd.machine import Machine
from tests.wire.test_changes import within

HOST = "127.0.0.1:5000"
USER, PASSWORD = "alice", "s3cret-of-the-registry"
_HASHED = f"{USER}:$2y$05$ZANFyC7wlqON5qS.TxbtJOvWhQhvFuNhEBPZPl6WMErCUcMrwxAOG\n"
_CONFIG = f"""\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: /var/tmp/registry/data}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "{HOST}", secret: lab}}
auth: {{htpasswd: {{realm: lab, path: /var/tmp/registry/htpasswd}}}}
"""


@contextlib.contextmanager
def registry(machine: Machine) -> Iterator[None]:
    """It runs meanwhile. We must be in the machine's network."""
    machine.ok("mkdir", "-p", "/var/tmp/registry")
    machine.path("/var/tmp/registry/htpasswd").write_text(_HASHED)
    machine.path("/var/tmp/registry/config.yml").write_text(_CONFIG)
    command = ("docker-registry", "serve", "/var/tmp/registry/config.yml")
    machine.ok("systemd-run", "-q", "--unit=registry", "--setenv=OTEL_TRACES_EXPORTER=none", *command)
    try:
        within(15, _answers)
        yield
    finally:
        machine.run("systemctl", "stop", "registry")


def _answers() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 5000)) == 0
