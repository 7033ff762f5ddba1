"""What llama-server's flags come to as an entry of models.yaml. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from powerd.ctl.foreign.flags import Flag, switched
from powerd.ctl.models_text import Entry, is_alias, mend

#: From this many layers on, the number stands for all of them.
_ALL_LAYERS = 99
_CELLS = ("f16", "q8_0", "q4_0")
_SAMPLING: Mapping[str, tuple[str, type]] = {
    "temp": ("temperature", float),
    "top-k": ("top_k", int),
    "top-p": ("top_p", float),
    "min-p": ("min_p", float),
    "typical": ("typical_p", float),
    "repeat-last-n": ("repeat_last_n", int),
    "repeat-penalty": ("repeat_penalty", float),
    "presence-penalty": ("presence_penalty", float),
    "frequency-penalty": ("frequency_penalty", float),
    "mirostat": ("mirostat", int),
    "mirostat-lr": ("mirostat_eta", float),
    "mirostat-ent": ("mirostat_tau", float),
    "seed": ("seed", int),
    "predict": ("num_predict", int),
    "keep": ("num_keep", int),
}
#: Flags that say what powerd does anyway.
_ANYWAY = {"jinja", "cont-batching", "warmup", "cache-prompt", "no-context-shift", "no-webui", "log-disable", "slots"}
#: Flags with a place elsewhere, or none, and why.
_ELSEWHERE: Mapping[str, str] = {
    "host": "the address is `listen` in powerd.yaml",
    "port": "the address is `listen` in powerd.yaml",
    "api-key": "who may ask is powerd.yaml's to say",
    "api-key-file": "who may ask is powerd.yaml's to say",
    "hf-token": "the hub's token is `sources.huggingface.token_file` in powerd.yaml",
    "mmproj": "images are not available yet",
    "model-draft": "draft models are not available yet",
    "hf-repo-draft": "draft models are not available yet",
    "docker-repo": "powerd does not fetch from Docker's registry",
    "metrics": "powerd's are at /metrics always",
    "reranking": "reranking is not available",
    "embeddings": "every model answers embeddings where it can",
    "models-max": "max_loaded_models in powerd.yaml",
    "sleep-idle-seconds": "that is `keep_alive`",
}
_SECRET = {"api-key", "hf-token"}
_LEVELS = {"low", "medium", "high", "max"}


@dataclass(slots=True)
class Made:
    """An entry in the making. Relative paths start at `directory`."""

    entry: Entry
    directory: Path
    aliases: list[str] = field(default_factory=list)
    slots: int = 0
    unified: bool = False
    flags: dict[str, Flag] = field(default_factory=dict)

    def leave(self, flag: Flag, why: str) -> None:
        """Say that a flag is not carried over."""
        shown = flag.written if flag.name in _SECRET else str(flag)
        self.entry.notes.append(f"not carried over: {shown} ({why})")

    def set(self, name: str, value: object) -> None:
        """Give the entry a field."""
        self.entry.fields[name] = value

    def parameter(self, name: str, value: object) -> None:
        """Give the entry a sampling option."""
        parameters = self.entry.fields.setdefault("parameters", {})
        assert isinstance(parameters, dict)
        parameters[name] = value

    def path(self, text: str) -> str:
        """A path that means the same wherever models.yaml lies."""
        return text if text.startswith("~/") else str(self.directory / text)


def made_of(found: Iterable[Flag], directory: Path, name: str = "") -> tuple[Entry, list[str]]:
    """The entry that these flags come to, later ones holding, and the further names it is to have."""
    made = Made(Entry(name), directory)
    for flag in found:
        if not flag.name:
            made.leave(flag, "it belongs to no flag")
        elif flag.name in {"lora", "lora-scaled", "reverse-prompt"}:
            _TAKERS[flag.name](made, flag)
        else:
            made.flags[flag.name] = flag
    _take_source(made)
    for flag in made.flags.values():
        _take(made, flag)
    _take_placement(made)
    if not made.entry.name:
        source = str(made.entry.fields.get("source", ""))
        made.entry.name = mend(made.aliases.pop(0) if made.aliases else PurePosixPath(source).stem.partition(":")[0])
    return made.entry, made.aliases


def _take(made: Made, flag: Flag) -> None:
    if flag.name in _TAKEN_TOGETHER or flag.name in _ANYWAY:
        return
    if (sampled := _SAMPLING.get(flag.name)) is not None:
        _take_number(made, flag, lambda value: made.parameter(sampled[0], value), sampled[1])
    elif flag.name in _TAKERS:
        _TAKERS[flag.name](made, flag)
    else:
        made.leave(flag, _ELSEWHERE.get(flag.name, "models.yaml has no field for it"))


def _take_number(made: Made, flag: Flag, keep: Callable[[float], None], kind: type = int) -> None:
    try:
        keep(kind(flag.value))
    except ValueError:
        made.leave(flag, "that is no number")


# ---------------------------------------------------------------- where the weights are

_TAKEN_TOGETHER = {
    *("model", "model-url", "hf-repo", "hf-file", "cache-type-k", "cache-type-v", "parallel", "kv-unified"),
    *("no-kv-unified", "batch-size", "ubatch-size", "device", "split-mode", "tensor-split", "main-gpu"),
}


def _take_source(made: Made) -> None:
    given = made.flags
    source = ""
    if "model" in given:
        source = made.path(given["model"].value)
    elif "hf-repo" in given and "hf-file" in given:
        source = f"hf://{given['hf-repo'].value.partition(':')[0]}/{given['hf-file'].value}"
    elif "hf-repo" in given:
        source = f"hf.co/{given['hf-repo'].value}"
    elif "model-url" in given:
        source = given["model-url"].value
    for other in ("hf-repo", "model-url"):
        if other in given and "model" in given:
            made.leave(given[other], "the file of --model is used")
    if source:
        made.set("source", source)


# ---------------------------------------------------------------- one flag each


def _take_alias(made: Made, flag: Flag) -> None:
    for name in filter(None, map(str.strip, flag.value.split(","))):
        if is_alias(name):
            made.aliases.append(name)
        else:
            made.leave(Flag(flag.name, name, flag.written), "a model cannot be called this")


def _take_context(made: Made, flag: Flag) -> None:
    """llama-server shares its context out among the slots; here each sequence has the whole of it."""

    def keep(value: float) -> None:
        slots = _slots(made)
        shared = slots > 1 and "kv-unified" not in made.flags
        if value > 0:
            made.set("context", int(value) // slots if shared else int(value))
        if value > 0 and shared:
            made.entry.notes.append(f"context: {int(value)} shared out among {slots} slots; here each has its own")

    _take_number(made, flag, keep)


def _slots(made: Made) -> int:
    said = made.flags["parallel"].value if "parallel" in made.flags else ""
    return int(said) if said.isdecimal() else 1


def _take_layers(made: Made, flag: Flag) -> None:
    if flag.value in {"auto", "all"}:
        made.set("gpu_layers", flag.value)
        return

    def keep(value: float) -> None:
        if value >= 0:
            made.set("gpu_layers", "all" if value >= _ALL_LAYERS else int(value))

    _take_number(made, flag, keep)


def _take_threads(made: Made, flag: Flag) -> None:
    _take_number(made, flag, lambda value: made.set("threads", int(value)) if value > 0 else None)


def _take_flash(made: Made, flag: Flag) -> None:
    if flag.value.lower() in {"auto", "-1"}:
        return
    on = switched(flag)
    if on is None:
        made.leave(flag, "neither on, off nor auto")
    else:
        made.set("flash_attention", on)


def _take_pooling(made: Made, flag: Flag) -> None:
    if flag.value in {"mean", "cls", "last"}:
        made.set("pooling", flag.value)
    else:
        made.leave(flag, "a text's vector is the mean of its tokens', the first one or the last one")


def _take_mode(made: Made, flag: Flag) -> None:
    modes = {"none": "read", "mmap": "mmap", "mlock": "mlock", "mmap+mlock": "mlock", "auto": "auto"}
    on = switched(flag) is not False
    mode = {"mmap": "mmap", "no-mmap": "read", "mlock": "mlock"}.get(flag.name, modes.get(flag.value, ""))
    if flag.name in {"mmap", "no-mmap"} and not on:
        mode = "read" if flag.name == "mmap" else "mmap"
    if not mode:
        made.leave(flag, "load_mode has nothing like it")
    elif (flag.name != "mlock" or on) and (mode == "mlock" or made.entry.fields.get("load_mode") != "mlock"):
        made.set("load_mode", mode)


def _take_template(made: Made, flag: Flag) -> None:
    if flag.name == "chat-template-file":
        made.set("template", {"file": made.path(flag.value)})
    elif "{" in flag.value:
        made.set("template", flag.value)
    else:
        made.leave(flag, "llama.cpp's own templates have no name here; the model's own is used")


def _take_thinking(made: Made, flag: Flag) -> None:
    if flag.name == "reasoning-effort" and flag.value in _LEVELS:
        made.set("think", flag.value)
    elif flag.name == "reasoning" and flag.value.lower() == "auto":
        return
    elif flag.name == "reasoning" and (on := switched(flag)) is not None:
        made.set("think", on)
    elif flag.name == "reasoning-budget" and flag.value == "0":
        made.set("think", False)
    elif flag.name == "reasoning-budget" and flag.value.isdecimal():
        made.parameter("thinking_budget", int(flag.value))
    elif flag.value not in {"-1", "default"}:
        made.leave(flag, "`think` has nothing like it")


def _take_arguments(made: Made, flag: Flag) -> None:
    try:
        said = json.loads(flag.value)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        made.leave(flag, "not a JSON object")
        return
    for name, value in said.items():
        if (name == "enable_thinking" and isinstance(value, bool)) or (name == "reasoning_effort" and value in _LEVELS):
            made.set("think", value)
        else:
            made.leave(Flag(flag.name, f"{name}={json.dumps(value)}", flag.written), "templates take no such word here")


def _take_adapters(made: Made, flag: Flag) -> None:
    adapters = made.entry.fields.setdefault("adapters", [])
    assert isinstance(adapters, list)
    for text in filter(None, flag.value.split(",")):
        path, _, scale = text.rpartition(":") if flag.name == "lora-scaled" and ":" in text else (text, "", "")
        adapter: dict[str, object] = {"source": made.path(path)}
        try:
            adapter |= {"scale": float(scale)} if scale else {}
        except ValueError:
            made.leave(flag, f"{scale} is no number")
        adapters.append(adapter)


def _take_stop(made: Made, flag: Flag) -> None:
    parameters = made.entry.fields.get("parameters")
    known = parameters.get("stop", []) if isinstance(parameters, dict) else []
    made.parameter("stop", [*known, flag.value])


def _take_shift(made: Made, flag: Flag) -> None:
    if switched(flag):
        made.set("overflow", "shift")


def _take_state(made: Made, flag: Flag) -> None:
    if switched(flag):
        made.set("state", "loaded")


_TAKERS: Mapping[str, Callable[[Made, Flag], None]] = {
    "alias": _take_alias,
    "ctx-size": _take_context,
    "gpu-layers": _take_layers,
    "threads": _take_threads,
    "flash-attn": _take_flash,
    "pooling": _take_pooling,
    **dict.fromkeys(("mmap", "no-mmap", "mlock", "load-mode"), _take_mode),
    **dict.fromkeys(("chat-template", "chat-template-file"), _take_template),
    **dict.fromkeys(("reasoning", "reasoning-effort", "reasoning-budget"), _take_thinking),
    "chat-template-kwargs": _take_arguments,
    **dict.fromkeys(("lora", "lora-scaled"), _take_adapters),
    "reverse-prompt": _take_stop,
    "context-shift": _take_shift,
    "load-on-startup": _take_state,
}


# ---------------------------------------------------------------- several flags together


def _take_placement(made: Made) -> None:
    """The fields that more than one flag decides: parallel, batch, kv_cache and placement."""
    given = made.flags
    if _slots(made) > 1 or ("parallel" in given and given["parallel"].value == "1"):
        made.set("parallel", _slots(made))
    batch = given.get("ubatch-size", given.get("batch-size"))
    if batch is not None:
        _take_number(made, batch, lambda value: made.set("batch", int(value)))
    if "ubatch-size" in given and "batch-size" in given:
        made.leave(given["batch-size"], "`batch` is what is computed at once, which --ubatch-size says")
    kinds = [given[name].value for name in ("cache-type-k", "cache-type-v") if name in given]
    if len(kinds) == 2 and kinds[0] == kinds[1] and kinds[0] in _CELLS:
        made.set("kv_cache", kinds[0])
    else:
        for name in ("cache-type-k", "cache-type-v"):
            if name in given and given[name].value != "f16":
                made.leave(given[name], "kv_cache is one of f16, q8_0 and q4_0, for keys and values alike")
    _take_devices(made)


def _take_devices(made: Made) -> None:
    given = made.flags
    placement: dict[str, object] = {}
    devices = [one for one in given["device"].value.split(",") if one] if "device" in given else []
    if devices == ["none"]:
        made.set("gpu_layers", 0)
    elif devices:
        placement["devices"] = devices
    mode = given.get("split-mode")
    if mode is not None and mode.value in {"none", "layer", "row"}:
        placement["split"] = mode.value
    elif mode is not None:
        made.leave(mode, "placement.split is layer, row or none")
    shares = given.get("tensor-split")
    if shares is not None:
        numbers = [text for text in shares.value.replace("/", ",").split(",") if text]
        if len(numbers) == len(devices) and all(_is_share(text) for text in numbers):
            placement["split"] = [float(text) for text in numbers]
        else:
            made.leave(shares, "placement.split in numbers needs placement.devices, one for each number")
    main = given.get("main-gpu")
    if main is not None and main.value.isdecimal() and int(main.value) < len(devices):
        placement["main"] = devices[int(main.value)]
    elif main is not None:
        made.leave(main, "placement.main is a device's id, as `powerctl doctor` lists them")
    if placement:
        made.set("placement", placement)


def _is_share(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()
