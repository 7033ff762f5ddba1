"""The daemon's own options: flags over POWER_* over OLLAMA_* over powerd.yaml over the defaults below.

Nothing here names a model; models live in models.yaml. Unknown keys are errors. Reading powerd.yaml is the daemon's
work: this module takes its values, the environment and the flags, and touches no file.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from powerd.hosts import DEFAULT_PORT
from powerd.ollama_variables import from_ollama
from powerd.quantities import parse_duration, parse_size


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) and not _is_number(value) else value


def _bytes(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _words(value: object) -> object:
    """A comma list from the environment; a YAML list passes through."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=10**9)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(_Section):
    """Where blobs live."""

    path: Path | None = None  # None = <state>/models
    read_only: Words | None = None  # None = the Ollama directories found here
    quota: Bytes | None = None


class DeviceSettings(_Section):
    """What the memory ledger may give out on one device."""

    budget: Bytes | None = None
    reserve: Bytes | None = None  # kept free


_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,99}", re.ASCII)


def _device_names(value: Mapping[str, DeviceSettings]) -> Mapping[str, DeviceSettings]:
    for name in value:
        if not _DEVICE.fullmatch(name):
            raise ValueError(f'"{name}" is not cpu, an id of the engine (CUDA0), a UUID or a PCI id')
    if len({name.lower() for name in value}) < len(value):
        raise ValueError("a device is listed twice")
    return value


class HuggingFaceSettings(_Section):
    """How the Hugging Face hub is reached."""

    endpoint: str = ""  # empty = HF_ENDPOINT, else https://huggingface.co
    token_file: Path | None = None  # None = HF_TOKEN, else what `hf auth login` left under HF_HOME


class SourceSettings(_Section):
    """Where weights come from, besides registries."""

    huggingface: HuggingFaceSettings = HuggingFaceSettings()


def _mirrors(value: tuple[str, ...]) -> tuple[str, ...]:
    for mirror in value:
        if not _MIRROR.fullmatch(mirror):
            raise ValueError(f'"{mirror}" is not a URL like https://mirror.example.com')
    return value


_MIRROR = re.compile(r"https?://[A-Za-z0-9_.:\[\]-]{1,350}(/[A-Za-z0-9_.~/-]{0,350})?", re.ASCII)
_REGISTRY = re.compile(r"\*|[a-z0-9_][a-z0-9_.-]{0,349}(:[0-9]{1,5})?", re.ASCII)


class RegistrySettings(_Section):
    """What one registry is given and allowed."""

    allow: bool = True
    insecure: bool = False  # plain HTTP
    mirrors: Annotated[Words, AfterValidator(_mirrors)] = ()
    username: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    token_hosts: Words = ()
    ca: Path | None = None


def _registries(value: Mapping[str, RegistrySettings]) -> Mapping[str, RegistrySettings]:
    lower = {host.lower(): registry for host, registry in value.items()}
    for host in value:
        if not _REGISTRY.fullmatch(host.lower()):
            raise ValueError(f'"{host}" is not HOST, HOST:PORT or *')
    if len(lower) < len(value):
        raise ValueError("a host is listed twice")
    return lower


class PullSettings(_Section):
    """How bytes are fetched."""

    rate: Bytes = 0  # a second; 0 = no limit
    parts: int = Field(default=4, ge=1, le=64)
    connections: int = Field(default=64, ge=1, le=1024)
    stall: Annotated[Seconds, Field(gt=0)] = 30.0
    tries: int = Field(default=6, ge=1, le=100)
    q4_above: Bytes = 0  # POST /pull takes weights up to so many bytes unquantized; from MODEL_Q4_THRESHOLD_BYTES
    ca: Path | None = None
    key: Path | None = None  # None = <state>/id_ed25519


class CanarySettings(_Section):
    """How often a loaded model is asked for one token, and how long it may take over it."""

    interval: Seconds = 60.0  # without real traffic; 0 = never
    timeout: Annotated[Seconds, Field(gt=0)] = 5.0


Weight = Annotated[float, Field(gt=0, le=1000)]


class InteractiveSettings(_Section):
    """The class of requests somebody waits for."""

    max_wait: Seconds = 600.0  # without a lease, loads of its own model not counted; 0 = no limit
    weight: Weight = 8.0


class BatchSettings(_Section):
    """The class of requests nobody waits for."""

    max_wait: Seconds = 3600.0
    weight: Weight = 1.0


class ClassSettings(_Section):
    """The scheduling classes."""

    interactive: InteractiveSettings = InteractiveSettings()
    batch: BatchSettings = BatchSettings()


class LogSettings(_Section):
    """How the daemon speaks."""

    format: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal, else json
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """Every option of powerd.yaml."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="POWER_", env_nested_delimiter="_", env_nested_max_split=1
    )

    config: Path | None = None  # powerd.yaml itself; None = the default place
    models: Path | None = None  # None = models.yaml beside powerd.yaml
    listen: str = f"127.0.0.1:{DEFAULT_PORT}"
    socket: Path | None = None
    state: Path | None = None
    store: StoreSettings = StoreSettings()
    devices: Annotated[Mapping[str, DeviceSettings], AfterValidator(_device_names)] = {}
    gpu_overhead: Bytes = 0  # kept free on every accelerator; from OLLAMA_GPU_OVERHEAD
    sched_spread: bool = False  # over every accelerator by default; from OLLAMA_SCHED_SPREAD
    registries: Annotated[Mapping[str, RegistrySettings], AfterValidator(_registries)] = {}
    sources: SourceSettings = SourceSettings()
    pull: PullSettings = PullSettings()
    mutations: Literal["local", "keys", "any"] = "local"
    allowed_hosts: Words = ()
    allowed_origins: Words = ()
    drain_timeout: Seconds = 10.0
    ready_when: Literal["listening", "pinned", "all"] = "listening"
    max_loaded_models: int = Field(default=0, ge=0, le=10_000)  # 0 = as many as memory takes
    max_queue: int = Field(default=512, ge=0, le=1_000_000)
    load_timeout: Seconds = 300.0  # without progress; 0 = no limit
    offline: bool = False
    unmanaged: Literal["keep", "hide"] = "keep"
    allow_empty: bool = False
    max_delete_fraction: float = Field(default=0.5, ge=0, le=1)
    keep_generations: int = Field(default=5, ge=1, le=1000)
    locked: bool = False  # sources that are not in models.lock.yaml are refused
    default_model: str = ""
    canary: CanarySettings = CanarySettings()
    classes: ClassSettings = ClassSettings()
    log: LogSettings = LogSettings()
    keep_alive: float = Field(default=300.0)  # seconds; inf = for ever; from OLLAMA_KEEP_ALIVE
    context_length: int = Field(default=0, ge=0, le=2**31 - 1)  # 0 = auto; from OLLAMA_CONTEXT_LENGTH
    parallel: int = Field(default=0, ge=0, le=256)  # 0 = auto; from OLLAMA_NUM_PARALLEL
    gpu_layers: int = Field(default=-1, ge=-1, le=9999)  # -1 = as many as the devices take; from OLLAMA_NUM_GPU
    kv_cache: Literal["f16", "q8_0", "q4_0"] = "f16"  # from OLLAMA_KV_CACHE_TYPE
    flash_attention: Literal["auto", "on", "off"] = "auto"  # from OLLAMA_FLASH_ATTENTION
    go_templates: Literal["auto", "on", "off"] = (
        "auto"  # of pulled models that bring a Jinja one too; OLLAMA_GO_TEMPLATE
    )

    @field_validator("keep_alive", mode="before")
    @classmethod
    def _keep_alive(cls, value: object) -> object:
        seconds = _seconds(math.inf if value == "always" else value)
        if isinstance(seconds, str):
            seconds = float(seconds)
        return math.inf if isinstance(seconds, int | float) and seconds < 0 else seconds

    @field_validator("load_timeout")
    @classmethod
    def _no_limit(cls, value: float) -> float:
        return value or math.inf

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        host_port(value)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags arrive as `flags`, OLLAMA_* as `ollama`, the file as `file` in the one init mapping."""
        assert isinstance(init_settings, InitSettingsSource)
        layers = init_settings.init_kwargs
        flags, ollama, file = (
            InitSettingsSource(settings_cls, init_kwargs=layers.get(name, {})) for name in ("flags", "ollama", "file")
        )
        return flags, env_settings, ollama, file


#: Keys of the design that this version refuses by name.
RESERVED = frozenset({"access", "tls"})


def load(flags: Mapping[str, Any], environ: Mapping[str, str], file: Mapping[str, Any]) -> Settings:
    """Fold the layers into Settings. POWER_* is read from the process's environment, OLLAMA_* from `environ`.

    Raises pydantic.ValidationError; `explain` turns it into sentences.
    """
    layers: dict[str, Any] = {"flags": dict(flags), "ollama": from_ollama(environ), "file": dict(file)}
    return Settings(**layers)


def host_port(listen: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPv6]:PORT` apart. Raises ValueError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f'"{listen}" is not HOST:PORT; write for example 127.0.0.1:{DEFAULT_PORT}')
    return host.removeprefix("[").removesuffix("]"), int(port)


def explain(error: ValidationError) -> list[tuple[str, str]]:
    """The dotted key and one sentence per problem, with the nearest valid key for an unknown one."""
    found = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        found.append((key, _sentence(key, problem["type"], problem["msg"], problem.get("input"))))
    return found


def _sentence(key: str, kind: str, message: str, value: object) -> str:
    if kind == "extra_forbidden":
        if key in RESERVED:
            return f'"{key}" is reserved for a later version and not available yet'
        near = difflib.get_close_matches(key, _keys(), n=1)
        return f'unknown key "{key}"' + (f'; did you mean "{near[0]}"?' if near else "")
    return f'"{key}": {message.removeprefix("Value error, ")} (it is {value!r:.60})'


def _keys(section: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, info in section.model_fields.items():
        inner = info.default
        keys += _keys(type(inner), f"{prefix}{name}.") if isinstance(inner, _Section) else [f"{prefix}{name}"]
    return keys
