"""kill -9 at every single step (K01 to K03): afterwards the store is sound and the work can be done again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from powerd.digest import Digest
from powerd.names import Name
from powerd.store.store import Store
from tests.apart import apart
from tests.store.dies import work

ROOT = Path(__file__).parents[2]


def check(root: Path) -> dict[str, str]:
    """Open the store and look at everything; returns each model's system text."""
    store = Store(root)
    store.open()
    models = {model.name.model: model.system or "" for model in store.models()}
    assert store.problems == []
    assert list((root / ".powerd" / "ingest").iterdir()) == []
    for path in (root / "blobs").iterdir():
        assert Digest.of(path.read_bytes()).blob_name == path.name
    assert models["old"] in {"version 1", "version 2"}
    assert models.get("new", "") == ""
    store.close()
    return models


def test_k01_k02_k03_killed_at_every_step(tmp_path: Path) -> None:
    done = apart("tests.store.dies", tmp_path)
    steps = int(done.stdout)
    assert steps > 60
    seen = {tuple(sorted(check(tmp_path / str(number)).items())) for number in range(1, steps + 1)}
    assert len(seen) >= 5  # nothing yet, new, old replaced, copied, gone
    for number in range(1, steps + 1, 9):
        work(tmp_path / str(number))
        assert check(tmp_path / str(number)) == {"old": "version 2", "new": "", "copied": "version 2"}


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from powerd.store.store import Store; "
        "s = Store(Path(sys.argv[1])); s.open(); s.ingest(None, None).write(b'half'); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, timeout=60, check=False)
    assert died.returncode == -9
    assert len(list((tmp_path / ".powerd" / "ingest").iterdir())) == 1
    store = Store(tmp_path)
    store.open()
    assert list((tmp_path / ".powerd" / "ingest").iterdir()) == []
    assert store.find(Name.parse("x")) is None
    store.close()
