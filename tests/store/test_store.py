"""Our own store: opening, bringing bytes in, publishing, finding."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import BadRequest, Conflict, NoSpace, NotFound, PowerError, StoreFailed
from powerd.names import Name
from powerd.store import files
from powerd.store.gguf import Header, read_header
from powerd.store.manifest import JINJA_TYPE, LICENSE_TYPE, MESSAGES_TYPE, MODEL_TYPE, PARAMS_TYPE, SYSTEM_TYPE, Layer
from powerd.store.store import Store
from tests.store.shelves import add_manifest, add_model, weights


def publish(store: Store, name: str, gguf: bytes | None = None, *texts: tuple[str, bytes]) -> Digest:
    parts = [(MODEL_TYPE, weights() if gguf is None else gguf), *texts]
    layers = [Layer(kind, *store.put(data)) for kind, data in parts]
    return store.publish(Name.parse(name), layers, {"model_format": "gguf"}).digest


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


# ------------------------------------------------------------ opening


def test_c02_a_second_opener_is_told_who_has_it(store: Store) -> None:
    second = Store(store.root)
    with pytest.raises(Conflict, match=f"already in use by process {os.getpid()}"):
        second.open()
    store.close()
    second.open()
    second.close()


def test_leftovers_of_dead_ingests_are_removed(tmp_path: Path) -> None:
    area = tmp_path / ".powerd" / "ingest"
    area.mkdir(parents=True)
    (area / "left").write_bytes(b"half of a blob")
    store = Store(tmp_path)
    store.open()
    assert tree(tmp_path) == {".powerd/lock"}
    store.close()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_s14_modes_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = Store(tmp_path / "a" / "store")
        store.open()
        publish(store, "demo")
        store.close()
    finally:
        os.umask(before)
    modes: dict[str, set[int]] = {"blobs": set(), "manifests": set(), "directory": set()}
    for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]:
        if path.is_dir():
            modes["directory"].add(stat.S_IMODE(path.stat().st_mode))
        elif ".powerd" not in path.parts:
            modes[path.relative_to(store.root).parts[0]].add(stat.S_IMODE(path.stat().st_mode))
    assert modes == {"blobs": {0o440}, "manifests": {0o640}, "directory": {0o750}}


def test_a_store_that_cannot_be_made_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreFailed, match=r"opening the store .*/file/store: Not a directory"):
        Store(tmp_path / "file" / "store").open()


# ------------------------------------------------------------ ingest


def test_an_ingest_is_invisible_until_it_is_committed(store: Store) -> None:
    data = b"some bytes"
    with store.ingest(Digest.of(data), len(data)) as ingest:
        ingest.write(data[:4])
        ingest.write(data[4:])
        assert store.blob(Digest.of(data)) is None
        assert ingest.commit() == Digest.of(data)
    path = store.blob(Digest.of(data))
    assert path is not None
    assert path.read_bytes() == data
    assert not list((store.root / ".powerd" / "ingest").iterdir())


@pytest.mark.parametrize(
    ("size", "digest", "message"),
    [
        (None, Digest("0" * 64), "digest mismatch, expected"),
        (5, None, "size mismatch, expected 5 bytes, got 4"),
        (3, None, "longer than the declared 3 bytes"),
    ],
)
def test_n09_wrong_bytes_leave_nothing(store: Store, size: int | None, digest: Digest | None, message: str) -> None:
    ingest = store.ingest(digest, size)
    with pytest.raises(BadRequest, match=message), ingest:
        ingest.write(b"data")
        ingest.commit()
    assert tree(store.root) == {".powerd/lock"}


def test_n09_the_same_blob_twice_at_once(store: Store) -> None:
    data = b"x" * 100_000

    def bring() -> None:
        with store.ingest(Digest.of(data), len(data)) as ingest:
            for start in range(0, len(data), 1000):
                ingest.write(data[start : start + 1000])
            ingest.commit()

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tree(store.root) == {".powerd/lock", f"blobs/{Digest.of(data).blob_name}"}


def test_an_aborted_ingest_takes_no_more(store: Store) -> None:
    ingest = store.ingest(None, None)
    ingest.abort()
    ingest.abort()
    with pytest.raises(StoreFailed, match="this ingest has ended"):
        ingest.write(b"late")


def test_an_ingest_can_begin_anew(store: Store) -> None:
    with store.ingest(Digest.of(b"right"), 5) as ingest:
        ingest.write(b"wro")
        ingest.restart()
        ingest.write(b"right")
        ingest.commit()
    assert store.blob(Digest.of(b"right")) is not None


def test_closing_the_store_aborts_what_is_under_way(store: Store) -> None:
    store.ingest(None, 10).write(b"half")
    store.close()
    assert not list((store.root / ".powerd" / "ingest").iterdir())


def test_s06_a_corrupted_blob_is_healed_by_the_right_bytes(store: Store) -> None:
    digest, _ = store.put(b"right")
    path = store.blob(digest)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(b"zeros")
    with store.ingest(digest, 5) as ingest:
        ingest.write(b"right")
        ingest.commit()
    assert path.read_bytes() == b"right"


@pytest.mark.parametrize("call", ["fsync", "write", "fchmod"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT])
def test_d03_d04_a_failing_disk_aborts_the_ingest(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with store.ingest(None, 4) as ingest:
        monkeypatch.setattr(os, call, fail)
        expected = NoSpace if number == errno.EDQUOT else StoreFailed
        with pytest.raises(expected, match="quota" if number == errno.EDQUOT else os.strerror(number)):
            ingest.write(b"data")
            ingest.commit()
        monkeypatch.undo()
    assert tree(store.root) == {".powerd/lock"}


def test_d03_a_failed_sync_is_never_taken_for_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    ingest = store.ingest(None, 4)
    ingest.write(b"data")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreFailed):
        ingest.commit()
    monkeypatch.undo()
    with pytest.raises(StoreFailed, match="this ingest has ended"):
        ingest.commit()
    assert store.blob(Digest.of(b"data")) is None


# ------------------------------------------------------------ room


def test_d02_what_does_not_fit_is_refused_before_the_first_byte(store: Store) -> None:
    with pytest.raises(NoSpace, match=r"need .* TiB in .*, have .* \(limited by the disk\)"):
        store.ingest(None, 1 << 50)


def test_the_quota_counts_blobs_and_promises(tmp_path: Path) -> None:
    store = Store(tmp_path, quota=1000)
    store.open()
    store.put(b"x" * 200)
    assert store.free() == 800
    with store.ingest(None, 300) as ingest:
        assert store.free() == 500
        ingest.write(b"x" * 100)
        assert store.free() == 600
        with pytest.raises(NoSpace, match="limited by a quota of 1000 B"):
            store.ingest(None, 301)
    assert store.free() == 800
    store.close()


# ------------------------------------------------------------ models


def test_a_published_model_is_found_with_all_its_texts(store: Store) -> None:
    publish(
        store,
        "me/Demo:v1",
        None,
        (JINJA_TYPE, b"{{ messages }}"),
        (SYSTEM_TYPE, "Sei höflich.".encode()),
        (PARAMS_TYPE, b'{"temperature":0.2,"stop":["<end>"]}'),
        (MESSAGES_TYPE, b'[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}]'),
        (LICENSE_TYPE, b"MIT"),
        (LICENSE_TYPE, b"BSD \xff"),
    )
    model = store.find(Name.parse("me/demo:V1"))
    assert model is not None
    assert model.name.display == "me/Demo:v1"
    assert (model.jinja, model.template, model.system) == ("{{ messages }}", None, "Sei höflich.")
    assert model.params == {"temperature": 0.2, "stop": ["<end>"]}
    assert model.messages == (("user", "hi"), ("assistant", "hello"))
    assert model.licenses == ("MIT", "BSD \ufffd")
    assert model.header.name == "Crafted"
    assert model.weights.read_bytes() == weights()
    assert model.read_only is False
    manifest = store.root / "manifests" / model.name.path
    assert model.digest == Digest.of(manifest.read_bytes())
    assert model.modified == manifest.stat().st_mtime_ns / 1e9
    assert model.size == sum(layer.size for layer in model.layers) + len(b'{"model_format":"gguf"}\n')
    assert store.models() == [model]


def test_publishing_the_same_again_writes_nothing(store: Store) -> None:
    first = publish(store, "demo")
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    assert publish(store, "demo") == first
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


def test_n04_the_spelling_on_disk_wins(store: Store) -> None:
    publish(store, "Team/Demo:V1")
    publish(store, "team/demo:v2")
    publish(store, "TEAM/DEMO:v1", weights("other"))
    assert sorted(model.name.display for model in store.models()) == ["Team/Demo:V1", "Team/Demo:v2"]
    found = store.find(Name.parse("tEaM/dEmO:v1"))
    assert found is not None
    assert found.header.name == "other"


def test_a_model_without_its_blobs_is_not_published(store: Store) -> None:
    digest, size = store.put(weights())
    with pytest.raises(Conflict, match=f"demo:latest cannot be published: blob sha256:{'0' * 64} is missing"):
        store.publish(Name.parse("demo"), [Layer(MODEL_TYPE, Digest("0" * 64), 1)], {})
    with pytest.raises(Conflict, match=r"has .* bytes where its manifest says"):
        store.publish(Name.parse("demo"), [Layer(MODEL_TYPE, digest, size + 1)], {})
    html, size = store.put(b"<html>")
    with pytest.raises(Conflict, match="looks like HTML"):
        store.publish(Name.parse("demo"), [Layer(MODEL_TYPE, html, size)], {})
    assert store.models() == []
    assert not list((store.root / "manifests").iterdir())


def test_models_come_newest_first(store: Store) -> None:
    for age, name in enumerate(["c", "a", "b"]):
        publish(store, name)
        path = store.root / "manifests/registry.ollama.ai/library" / name / "latest"
        os.utime(path, (2_000_000_000 - age, 2_000_000_000 - age))
    assert [model.name.model for model in store.models()] == ["c", "a", "b"]


def test_one_bad_manifest_never_hides_the_others(store: Store) -> None:
    publish(store, "good")
    library = "registry.ollama.ai/library"
    add_manifest(store.root, f"{library}/torn/latest", b'{"schemaVersion":2,"layers":[')
    add_manifest(store.root, f"{library}/stray", b"{}")
    add_manifest(store.root, f"{library}/.DS_Store", b"\0")
    add_manifest(store.root, f"{library}/bad name/latest", b"{}")
    add_model(store.root, f"{library}/broken/latest", texts=[("params", b"[1,")])
    add_model(store.root, f"{library}/odd/latest", texts=[("messages", b'[{"role":1}]')])
    add_model(store.root, f"{library}/huge/latest", texts=[("system", b"x" * ((1 << 20) + 1))])
    add_model(store.root, f"{library}/latin/latest", texts=[("template", b"\xff")])
    add_model(store.root, f"{library}/cut/latest", gguf=weights()[:100])
    add_model(store.root, f"{library}/lost/latest", gguf=weights("lost"))
    (store.root / "blobs" / Digest.of(weights("lost")).blob_name).unlink()
    assert [model.name.model for model in store.models()] == ["good"]
    told = "\n".join(store.problems)
    for expected in (
        f"torn:latest in {store.root} is left out: invalid manifest: not JSON",
        "stray cannot be read, or is not the place of a manifest",
        "bad name/latest cannot be read",
        "broken:latest in .* is not JSON",
        "odd:latest in .* are not roles with contents",
        "huge:latest in .* is larger than 1.0 MiB",
        "latin:latest in .* is not UTF-8 text",
        "cut:latest in .*truncated GGUF at byte 100",
        "lost:latest in .* is missing",
    ):
        assert re.search(expected, told), (expected, told)
    assert len(store.problems) == 9
    assert store.find(Name.parse("lost")) is None


def test_unchanged_models_are_not_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(5):
        publish(store, f"m{index}", weights(str(index)))
    before = store.models()
    opened: list[Path] = []

    def small(path: Path, limit: int) -> bytes:
        opened.append(path)
        return files.read_small(path, limit)

    def header(path: Path) -> Header:
        opened.append(path)
        return read_header(path)

    monkeypatch.setattr("powerd.store.reader.read_small", small)
    monkeypatch.setattr("powerd.store.reader.read_header", header)
    assert store.models() == before
    assert opened == []
    publish(store, "m3", weights("new"))
    opened.clear()
    after = {model.name.model: model for model in store.models()}
    assert after["m3"].header.name == "new"
    assert after["m1"] is {model.name.model: model for model in before}["m1"]
    assert len(opened) <= 3  # manifest and config of m3; its weights were read when it was published


def test_a_change_of_any_file_is_seen(store: Store) -> None:
    publish(store, "demo", None, (SYSTEM_TYPE, b"one"))
    store.models()
    blob = store.root / "blobs" / Digest.of(b"one").blob_name
    blob.unlink()
    assert store.models() == []
    assert "is missing" in store.problems[0]
    blob.write_bytes(b"one")
    assert [model.system for model in store.models()] == ["one"]
    assert store.problems == []


def test_copy_writes_a_manifest_and_nothing_else(store: Store) -> None:
    publish(store, "demo")
    before = tree(store.root)
    store.copy(Name.parse("demo"), Name.parse("me/other:v2"))
    assert tree(store.root) - before == {"manifests/registry.ollama.ai/me/other/v2"}
    first, second = store.find(Name.parse("demo")), store.find(Name.parse("me/other:v2"))
    assert first is not None
    assert second is not None
    assert first.digest == second.digest
    store.copy(Name.parse("demo"), Name.parse("DEMO"))
    assert len(store.models()) == 2
    with pytest.raises(NotFound, match='model "none:latest" not found'):
        store.copy(Name.parse("none"), Name.parse("x"))


def test_names_too_long_for_a_file_are_bad_requests(store: Store) -> None:
    publish(store, "demo")
    name = Name.parse("h" * 300 + "/ns/model")
    with pytest.raises(BadRequest, match=r"^invalid model name$"):
        store.copy(Name.parse("demo"), name)


def test_d03_an_unreadable_directory_is_a_problem_of_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "good")
    publish(store, "bad/model")
    real = os.scandir

    def scandir(path: str | Path) -> object:
        if Path(path).name == "bad":
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [model.name.model for model in store.models()] == ["good"]
    assert len(store.problems) == 1
    assert store.collect([], grace=0) == []


def test_every_failure_of_the_disk_is_one_a_client_can_be_told(tmp_path: Path) -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENAMETOOLONG):
        told = files.explain(OSError(number, os.strerror(number)), tmp_path, "writing", 10)
        assert isinstance(told, PowerError)
        assert told.message
