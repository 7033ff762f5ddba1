"""Configured: the rules for the way out, as the settings give them. Reads the files that hold secrets."""

from __future__ import annotations

from pathlib import Path

from powerd.errors import SourceFailed
from powerd.settings import RegistrySettings, Settings
from powerd.sources.transport.outbound import Host, OutboundConfig, Patience

_MAX_SECRET = 64 << 10


def outbound_config(settings: Settings, state: Path) -> OutboundConfig:
    """What Outbound needs. Blocks. Raises SourceFailed naming the setting whose file cannot be used."""
    pull = settings.pull
    return OutboundConfig(
        hosts={host: _host(host, registry) for host, registry in settings.registries.items()},
        key=(pull.key or state / "id_ed25519").expanduser(),
        ca=_certificates("pull.ca", pull.ca),
        max_rate=pull.rate,
        max_connections=pull.connections,
        parts=pull.parts,
        offline=settings.offline,
        patience=Patience(tries=pull.tries, stall=pull.stall),
    )


def _host(name: str, registry: RegistrySettings) -> Host:
    where = f"registries.{name}"
    return Host(
        allow=registry.allow,
        insecure=registry.insecure,
        mirrors=registry.mirrors,
        username=registry.username,
        password=_secret(f"{where}.password_file", registry.password_file),
        token=_secret(f"{where}.token_file", registry.token_file),
        token_hosts=tuple(host.lower() for host in registry.token_hosts),
        ca=_certificates(f"{where}.ca", registry.ca),
    )


def _secret(setting: str, path: Path | None) -> str:
    """The one line of a file; nothing where none is set."""
    if path is None:
        return ""
    try:
        text = path.expanduser().read_bytes()[:_MAX_SECRET].decode().strip()
    except OSError as error:
        raise SourceFailed(f"{setting}: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text:
        raise SourceFailed(f"{setting}: {path} does not hold one line of text")
    return text


def _certificates(setting: str, path: Path | None) -> Path | None:
    if path is None:
        return None
    path = path.expanduser()
    if not path.is_file():
        raise SourceFailed(f"{setting}: there is no file {path}")
    return path
