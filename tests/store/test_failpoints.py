"""Every failpoint times kill, EIO and ENOSPC: the store is sound afterwards, and the work can be done again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import powerd.store
from powerd.names import Name
from powerd.store import failpoints
from powerd.store.store import Store
from tests.apart import apart
from tests.store.breaks import work
from tests.store.deeds import shown, wrong_blobs

DONE = {
    "old": "version 2",
    "kept": "kept",
    "new": "pulled",
    "made": "created",
    "file": "taken",
    "copied": "version 2",
}
BEFORE: dict[str, set[str | None]] = {
    "old": {"version 1", "version 2"},
    "kept": {"kept"},
    "gone": {"to be deleted", None},
}


def test_every_point_that_is_listed_is_reached_somewhere_and_the_other_way_round() -> None:
    text = "".join(path.read_text() for path in Path(powerd.store.__path__[0]).glob("*.py"))
    assert set(re.findall(r'reach\("([a-z_.]+)"\)', text)) == set(failpoints.POINTS)


@pytest.mark.parametrize("text", ["nowhere=kill", "commit.after_rename", "commit.after_rename=burn", "=kill"])
def test_a_wrong_order_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="POWER_FAILPOINTS"):
        failpoints.arm(text)
    assert failpoints.waiting() == []


def sound(root: Path) -> dict[str, str]:
    """Open the store, look at every byte, and return each model's system text."""
    assert wrong_blobs(root) == []
    store = Store(root)
    store.open()
    models = shown(store)
    assert store.problems == []
    assert store.fsck().sound
    assert list((root / ".powerd" / "ingest").iterdir()) == []
    store.close()
    return models


def test_k01_k02_k03_k05_d01_d03_every_failpoint_killed_eio_and_enospc(tmp_path: Path) -> None:
    done = apart("tests.store.breaks", tmp_path)
    said = json.loads(done.stdout)
    assert len(said) > 3 * len(failpoints.POINTS)
    for fork in said:
        case, root = fork["root"], tmp_path / fork["root"]
        assert fork["fired"], case
        assert fork["killed"] == (fork["action"] == "kill"), (case, fork["failures"])
        told = {"EIO": "Input/output error", "ENOSPC": "no space left: need"}.get(fork["action"])
        if told is not None and fork["point"] != "verified.before_mark":  # a mark only saves work
            assert len(fork["failures"]) == 1, (case, fork["failures"])
            assert told in fork["failures"][0], case
        if fork["killed"]:
            assert len(wrong_blobs(root)) <= 1, case  # the one that was corrupt before
            store = Store(root)
            store.open()
            models = shown(store)
            for name, texts in BEFORE.items():
                assert models.get(name) in texts, (case, name)
            assert set(models.items()) <= set(DONE.items()) | {("old", "version 1"), ("gone", "to be deleted")}, case
            store.close()
            work(root)
        assert sound(root) == DONE, case
        assert Store(root).find(Name.parse("gone")) is None
