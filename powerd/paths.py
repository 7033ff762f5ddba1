"""Where powerd's files are when nobody says: system paths as root, the XDG directories as a user (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from powerd.settings import Settings

#: sun_path holds 108 bytes including the final NUL.
MAX_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class Paths:
    """Every path the daemon owns or reads."""

    config: Path
    models: Path
    state: Path
    store: Path
    socket: Path


def config_directory(uid: int, environ: Mapping[str, str], home: Path) -> Path:
    """Where powerd.yaml and models.yaml are looked for."""
    if uid == 0:
        return Path("/etc/power")
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "power"


def state_directory(uid: int, environ: Mapping[str, str], home: Path) -> Path:
    """Where generations and the store live."""
    if environ.get("POWER_HOME"):
        return Path(environ["POWER_HOME"])
    if uid == 0:
        return Path("/var/lib/power")
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "power"


def fragments_directory(models: Path) -> Path:
    """Where the files that are read together with this models.yaml lie."""
    return models.parent / "models.d"


def is_fragment(path: PurePath, models: Path) -> bool:
    """Whether `path` is one of them; a name that begins with a dot is an editor's or a mount's own."""
    return path.parent == fragments_directory(models) and path.suffix == ".yaml" and not path.name.startswith(".")


def socket_path(uid: int, environ: Mapping[str, str], state: Path) -> Path:
    """The control socket; XDG_RUNTIME_DIR may be unset (macOS, cron), then it lies in the state directory."""
    if uid == 0:
        return Path("/run/power/control.sock")
    runtime = environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "power" / "control.sock" if runtime else state / "control.sock"


def resolve(settings: Settings, uid: int, environ: Mapping[str, str], home: Path) -> Paths:
    """The paths these settings come to. A state directory chosen by hand takes the control socket along."""
    config = settings.config or config_directory(uid, environ, home) / "powerd.yaml"
    state = settings.state or state_directory(uid, environ, home)
    chosen = settings.state is not None or bool(environ.get("POWER_HOME"))
    socket = settings.socket or (state / "control.sock" if chosen else socket_path(uid, environ, state))
    return Paths(
        config=config.absolute(),
        models=(settings.models or config.parent / "models.yaml").absolute(),
        state=state.absolute(),
        store=(settings.store.path or state / "models").expanduser().absolute(),
        socket=socket.absolute(),
    )
