"""Names that say where their model runs: `:cloud`, `-cloud` and `:local` (contract sections 1.2, 1.14, 2.1). Pure.

powerd runs models on this machine only. What Ollama would send to ollama.com is refused as by an Ollama whose cloud is
switched off, unless a model of exactly that name is here.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from powerd.errors import BadRequest, Forbidden, PowerError
from powerd.names import Name

_LOCAL = ":local"
_CLOUD = ":cloud"
#: The host whose models Ollama's cloud runs.
_CLOUD_HOST = "ollama.com"
_DISABLED = "ollama cloud is disabled: remote model is unavailable"


def spellings(text: str) -> tuple[str, ...]:
    """The names a client may mean, in the order they are looked for: as sent, then without `:local`.

    Raises BadRequest for a name that asks for both places.
    """
    lower = text.strip().lower()
    if lower.endswith((_LOCAL + _CLOUD, _CLOUD + _LOCAL)) or (lower.endswith(_LOCAL) and is_cloud(lower[:-6])):
        raise BadRequest(f'use either :local or :cloud, not both: "{text[:100]}"', "model")
    if lower.endswith(_LOCAL):
        bare = text.strip()[: -len(_LOCAL)]
        return (text, bare) if _is_name(text) else (bare,)
    return (text,) if _is_name(text) or not is_cloud(text) else ()


def is_cloud(text: str) -> bool:
    """Whether Ollama would take the name for a model of its cloud."""
    lower = text.strip().lower()
    tag = lower.rpartition("/")[2].partition(":")[2]
    return lower.endswith(_CLOUD) or tag.endswith("-cloud")


def refusal(host: str = "") -> PowerError:
    """What a request for a model of the cloud, or for a stub of one at `host`, is answered."""
    if host and _hostname(host) != _CLOUD_HOST:
        return BadRequest("this server cannot run this remote model", "model")
    return Forbidden(_DISABLED)


def _hostname(host: str) -> str:
    """The name in a URL or a `host:port`, in lower case; nothing for what is neither."""
    try:
        return urlsplit(host if "://" in host else f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_name(text: str) -> bool:
    try:
        Name.parse(text)
    except ValueError:
        return False
    return True
