"""The house rules that must stay true: layers, sizes, names, and the modules that may touch the outside world."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(path for path in (ROOT / "powerd").rglob("*.py") if "recipe" not in path.parts)
TESTS = sorted((ROOT / "tests").rglob("*.py"))

#: What each room may import of powerd, besides itself. Everything may import the package itself (`powerd.__version__`).
GROUND = {"errors"}
FLOOR = GROUND | {
    "protocol",
    "vectors",
    "jobs",
    "options",
    "names",
    "digest",
    "hosts",
    "quantities",
    "settings",
    "paths",
    "files",
    "documents",
    "metrics",
    "log",
}
TEXTS = {"catalog", "prompt", "output", "modelfile"}
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "digest": set(),
    "hosts": set(),
    "names": set(),
    "quantities": set(),
    "files": set(),
    "documents": {"files", "paths"},
    "metrics": set(),
    "log": set(),
    "protocol": GROUND | {"vectors"},
    "vectors": set(),
    "jobs": GROUND | {"protocol"},
    "options": GROUND | {"protocol"},
    "ollama_variables": {"hosts", "quantities"},
    "settings": {"hosts", "quantities", "ollama_variables"},
    "paths": {"settings"},
    "provenance": {"settings", "ollama_variables"},
    "pulse": {"hosts"},
    "ending": set(),
    "hearts": {"pulse", "listeners", "reconcile"},
    "machine": set(),
    "doctor": FLOOR | TEXTS | {"config", "machine", "provenance", "fleet", "store", "documents"},
    "catalog": FLOOR | {"prompt"},
    "prompt": FLOOR,
    "output": GROUND | {"protocol"},
    "modelfile": FLOOR,
    "demo": set(),
    "docs": set(),
    "store": FLOOR | TEXTS,
    "sources": FLOOR | TEXTS | {"store"},
    "fleet": FLOOR | TEXTS | {"machine"},
    "reconcile": FLOOR | TEXTS | {"store", "sources", "fleet"},
    "api": FLOOR | TEXTS | {"store", "sources", "fleet", "reconcile"},
    "control": FLOOR | TEXTS | {"machine", "store", "sources", "fleet", "reconcile"},
    "listeners": FLOOR,
    "config": FLOOR | TEXTS | {"provenance"},
    "daemon": FLOOR
    | TEXTS
    | {
        "store",
        "sources",
        "fleet",
        "reconcile",
        "api",
        "control",
        "ending",
        "hearts",
        "listeners",
        "config",
        "ollama_variables",
        "pulse",
        "machine",
        "doctor",
        "provenance",
    },
    "__main__": GROUND | {"log", "config", "control", "daemon", "doctor", "listeners"},
    "runner": {"protocol", "vectors", "jobs", "log", "errors"},
    "render": {"prompt", "protocol", "jobs", "log", "errors"},
    "quantize": {"protocol", "jobs", "log", "errors", "runner"},
    "convert": {"protocol", "jobs", "log", "errors", "runner"},
    "probe": {"protocol", "jobs", "log", "errors", "runner"},
    "ctl": {
        "control.schema",
        "control.schema_plan",
        "control.schema_store",
        "control.schema_tell",
        "hosts",
        "names",
        "quantities",
        "modelfile",
    },
}
BANNED = {"utils", "util", "helpers", "helper", "common", "base", "core", "misc", "manager", "service", "services"}
PURE = (
    "catalog/",
    "prompt/",
    "output/",
    "jobs.py",
    "names.py",
    "digest.py",
    "hosts.py",
    "protocol.py",
    "vectors.py",
    "options.py",
    "quantities.py",
    "ollama_variables.py",
    "paths.py",
    "modelfile.py",
    "reconcile/remote.py",
    "api/ollama/images.py",
    "quantize/tensorlog.py",
    "convert/safetensors.py",
    "convert/config.py",
    "convert/hyperparameters.py",
    "convert/tensors.py",
    "convert/mxfp4.py",
    "convert/architectures.py",
    "convert/decoders.py",
    "convert/encoders.py",
    "convert/vocabulary.py",
    "convert/pretokenizers.py",
    "convert/sentencepiece.py",
    "convert/specials.py",
    "sources/source.py",
    "sources/wellknown.py",
    "sources/transport/answer.py",
    "sources/transport/origin.py",
    "sources/transport/parts.py",
    "sources/hub/files.py",
    "sources/hub/reference.py",
    "sources/registry/challenge.py",
    "fleet/state.py",
    "fleet/board.py",
    "fleet/admission.py",
    "fleet/residency.py",
    "fleet/classes.py",
    "fleet/faults.py",
    "fleet/entries.py",
    "fleet/ledger.py",
    "fleet/budget.py",
    "fleet/fit.py",
    "fleet/foretell.py",
    "fleet/views.py",
    "fleet/why.py",
    "runner/scheduler.py",
    "runner/text.py",
    "reconcile/step.py",
    "reconcile/decide.py",
    "reconcile/planning/plan.py",
    "reconcile/generations/records.py",
    "reconcile/generations/lock.py",
    "reconcile/wishes.py",
    "reconcile/conditions.py",
    "reconcile/written.py",
    "reconcile/making/creation.py",
    "reconcile/making/automatic.py",
    "api/ollama/schema.py",
    "api/ollama/translate.py",
    "api/ollama/frames.py",
    "api/ollama/times.py",
    "api/tools.py",
    "api/unpacking.py",
    "api/form.py",
    "api/openai/media.py",
    "api/openai/schema.py",
    "api/openai/translate.py",
    "api/openai/frames.py",
    "api/openai/responses/",
    "api/anthropic/schema.py",
    "api/anthropic/blocks.py",
    "api/anthropic/translate.py",
    "api/anthropic/frames.py",
    "api/short/schema.py",
    "api/short/frames.py",
)
OUTSIDE = {"asyncio", "socket", "subprocess", "time", "threading", "httpx", "os", "shutil", "tempfile", "random"}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT / "powerd").parts
    return parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            if node.module and (ROOT / node.module.replace(".", "/")).is_dir():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        assert not list(imports(path))
        return
    for module in imports(path):
        if not module.startswith("powerd."):
            continue
        target = module.removeprefix("powerd.")
        if target == "__version__" or target.split(".")[0] == here:
            continue
        allowed = ROOMS[here]
        assert target in allowed or target.split(".")[0] in allowed, f"{path.name} imports {module}"


def test_no_circles_between_the_rooms_of_any_folder() -> None:
    """Whatever lies in a folder, files and folders alike, can be put in an order in which imports only point down."""
    below: dict[tuple[str, ...], TopologicalSorter[str]] = defaultdict(TopologicalSorter)
    known = {module_parts(path) for path in MODULES}
    for path in MODULES:
        here = module_parts(path)
        for module in imports(path):
            there = tuple(module.split("."))
            if there not in known:
                there = there[:-1]
            if there in known:
                fork = next((n for n, (one, other) in enumerate(zip(here, there, strict=False)) if one != other), None)
                if fork is not None:
                    below[here[:fork]].add(here[fork], there[fork])
    for folder, order in below.items():
        try:
            order.prepare()
        except CycleError as circle:
            pytest.fail(f"in {'/'.join(folder)}: {' <- '.join(circle.args[1])}")


def module_parts(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def test_dialects_are_blind_to_each_other() -> None:
    for dialect, other in itertools.permutations(("anthropic", "ollama", "openai", "short"), 2):
        for path in (ROOT / "powerd/api" / dialect).glob("*.py"):
            assert not [module for module in imports(path) if module.startswith(f"powerd.api.{other}")], path


def test_the_hub_and_the_registries_are_blind_to_each_other() -> None:
    for here, other in itertools.permutations(("hub", "registry"), 2):
        for path in (ROOT / "powerd/sources" / here).glob("*.py"):
            assert not [module for module in imports(path) if module.startswith(f"powerd.sources.{other}")], path


def test_only_three_modules_of_the_hub_s_room_import_its_library() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if any(m.split(".")[0] in {"huggingface_hub", "httpx2"} for m in imports(path))
    }
    assert users == {f"powerd/sources/hub/{name}.py" for name in ("client", "failures", "guard")}


def test_only_runner_llama_imports_the_engine() -> None:
    users = {
        str(path.relative_to(ROOT)) for path in MODULES if any(m.split(".")[0] == "llama_cpp" for m in imports(path))
    }
    assert users == {"powerd/runner/llama.py"}


@pytest.mark.parametrize("path", MODULES + TESTS, ids=str)
def test_size(path: Path) -> None:
    limit = 600 if path.is_relative_to(ROOT / "tests") else 400
    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 40, f"{node.name} has {length} lines"


def test_no_module_or_class_has_a_name_that_means_nothing() -> None:
    for path in MODULES:
        assert path.stem not in BANNED, path
        assert path.parent.name not in BANNED, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                words = {word.lower() for word in re.findall(r"[A-Z][a-z]*", node.name)}
                assert not words & BANNED, f"{path}: {node.name}"


def test_packages_have_a_charter_and_export_nothing() -> None:
    for path in MODULES:
        if path.name == "__init__.py" and path.parent != ROOT / "powerd":
            tree = ast.parse(path.read_text())
            assert ast.get_docstring(tree), path
            assert len(tree.body) == 1, f"{path} exports something"


def test_pure_modules_touch_nothing() -> None:
    for path in MODULES:
        relative = str(path.relative_to(ROOT / "powerd"))
        if relative.startswith(PURE):
            touched = {module.split(".")[0] for module in imports(path)} & OUTSIDE
            assert not touched, f"{relative} imports {touched}"


def test_no_unsafe_deserialiser() -> None:
    for path in MODULES:
        text = path.read_text()
        assert not re.search(r"\b(pickle|marshal|shelve)\b|yaml\.load\(|torch\.load", text), path


_STARTS = re.compile(r"\b(create_subprocess_\w+|subprocess\.\w+|os\.(exec|spawn|posix_spawn|system)\w*)\(")


def test_s56_nothing_is_started_but_powerd_itself_an_editor_and_sysctl() -> None:
    """Above all no installer: powerd does not update itself."""
    starters = {str(path.relative_to(ROOT / "powerd")) for path in MODULES if _STARTS.search(path.read_text())}
    ours = {f"ctl/{name}.py" for name in ("doctor", "init", "ollama_calls", "plan", "validate")}
    assert starters == ours | {"ctl/keyboard.py", "fleet/child.py", "fleet/devices.py"}


def test_s57_the_engine_is_pinned_to_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    engines = [need for need in project["optional-dependencies"]["llama"] if need.startswith("llama-cpp-python")]
    assert len(engines) == 1
    assert re.fullmatch(r"llama-cpp-python==[0-9.]+", engines[0])


def test_every_module_says_what_it_is() -> None:
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_no_wait_for_which_loses_cancellations() -> None:
    """Python 3.11's asyncio.wait_for swallows a cancellation that meets a finished wait; asyncio.timeout does not."""
    for path in MODULES:
        assert "asyncio.wait_for(" not in path.read_text(), path
