"""documents: models.yaml and models.d as they lie on the disk (reliability Y06, Y09)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from powerd.documents import MAX_FRAGMENTS, Reading, read
from powerd.files import MAX_BYTES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "models.d").mkdir()
    return tmp_path / "models.yaml"


def test_models_yaml_comes_first_and_the_fragments_by_name(path: Path) -> None:
    for name in ("b.yaml", "a.yaml", "c.yaml.off", ".d.yaml", "README"):
        (path.parent / "models.d" / name).write_text(name)
    path.write_text("main")
    reading = read(path)
    assert [(Path(name).name, text) for name, text in reading.documents.items()] == [
        ("models.yaml", "main"),
        ("a.yaml", "a.yaml"),
        ("b.yaml", "b.yaml"),
    ]
    path.unlink()
    assert [Path(name).name for name in read(path).documents] == ["a.yaml", "b.yaml"]


def test_nothing_there_is_nothing_declared(path: Path) -> None:
    assert read(path) == Reading() == read(path, also=[path.parent / "t.jinja"])


@pytest.mark.parametrize(
    "edit",
    [
        lambda one: one.write_text("2"),
        lambda one: one.unlink(),
        lambda one: one.with_name("z.yaml").write_text("1"),
        lambda one: one.rename(one.with_name("b.yaml")),
        lambda one: os.utime(one, (1, 1)),
        lambda one: one.chmod(0o602),
        lambda one: one.with_name("x.yml").write_text(""),
    ],
)
def test_y06_the_mark_changes_with_every_file(path: Path, edit: Callable[[Path], object]) -> None:
    fragment = path.parent / "models.d" / "a.yaml"
    fragment.write_text("1")
    path.write_text("main")
    before = read(path)
    assert read(path) == before
    edit(fragment)
    assert read(path).mark != before.mark


def test_the_contents_of_what_is_referred_to_count_in_the_mark_alone(path: Path) -> None:
    template = path.parent / "t.jinja"
    path.write_text("main")
    missing = read(path, also=[template])
    template.write_text("1")
    there = read(path, also=[template])
    os.utime(template, (1, 1))
    assert read(path, also=[template]) == there
    template.write_text("2")
    assert len({missing.mark, there.mark, read(path, also=[template]).mark, read(path).mark}) == 4
    assert missing.documents == there.documents == {str(path): "main"}


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda one: one.mkdir(), "a.yaml: not a regular file"),
        (os.mkfifo, "a.yaml: not a regular file"),
        (lambda one: one.symlink_to("nowhere"), "a.yaml: the symbolic link points to nothing"),
        (lambda one: one.write_bytes(b"caf\xe9"), "a.yaml: not UTF-8 at byte 3"),
        (lambda one: one.write_bytes(b"x" * (MAX_BYTES + 1)), f"a.yaml: larger than {MAX_BYTES} bytes"),
        (lambda one: one.write_bytes(b"x" * MAX_BYTES), f"together are larger than {MAX_BYTES} bytes"),
        (lambda one: (one.write_text(""), one.chmod(0o646)), "a.yaml: writable by everybody; run chmod o-w on it"),
        (
            lambda one: one.with_name("a.yml").write_text(""),
            "models.d: the name of a fragment is plain text that ends in",
        ),
        (lambda one: one.with_name("a\nb.yaml").write_text(""), r"rename 'a\nb.yaml'"),
        (lambda one: one.with_name("\udcff.yaml").write_text(""), r"rename '\udcff.yaml'"),
        (lambda one: one.parent.chmod(0o1777), "models.d: writable by everybody; run chmod o-w on it"),
        (lambda one: one.parent.rmdir() or one.parent.write_text(""), "models.d: not a directory"),
        (lambda one: one.parent.rmdir() or one.parent.symlink_to("no"), "models.d: the symbolic link points to"),
    ],
)
def test_y09_a_fragment_that_cannot_be_trusted_or_read_refuses_all(
    path: Path, make: Callable[[Path], object], told: str
) -> None:
    path.write_text("main")
    make(path.parent / "models.d" / "a.yaml")
    reading = read(path)
    assert told in reading.problem
    assert reading.documents == {}
    assert reading.mark != read(path.parent / "other.yaml").mark


def test_y09_a_directory_where_everybody_may_replace_files_is_refused(path: Path) -> None:
    path.write_text("main")
    path.parent.chmod(0o777)
    assert "who could replace the files in it" in read(path).problem
    path.parent.chmod(0o1777)
    assert read(path).problem == ""


@pytest.mark.root
def test_a_mounted_configmap_is_open_to_nobody_though_its_mode_says_so(path: Path) -> None:
    """Such directories have mode 777, and their files are links into a directory that is swapped whole."""
    directory = path.parent / "models.d"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777,size=1m", "tmpfs", str(directory)], check=True)
    try:
        (directory / "..one").mkdir(0o777)
        (directory / "..one" / "a.yaml").write_text("a")
        (directory / "..data").symlink_to("..one")
        (directory / "a.yaml").symlink_to("..data/a.yaml")
        assert read(path).problem
        subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
        assert read(path).documents == {str(directory / "a.yaml"): "a"}
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("what", ["models.d", "models.d/a.yaml"])
def test_y09_files_of_other_users_are_refused(path: Path, what: str) -> None:
    (path.parent / "models.d" / "a.yaml").write_text("a")
    os.chown(path.parent / what, 12345, 12345)
    assert f"{path.parent / what}: owned by uid 12345" in read(path).problem


def test_a_check_by_hand_does_not_ask_who_else_could_write(path: Path) -> None:
    path.write_text("main")
    path.chmod(0o666)
    (path.parent / "models.d").chmod(0o777)
    assert read(path).problem
    assert read(path, guarded=False).documents == {str(path): "main"}


def test_the_number_of_fragments_is_bounded(path: Path) -> None:
    for number in range(MAX_FRAGMENTS + 1):
        (path.parent / "models.d" / f"{number}.yaml").touch()
    assert f"holds {MAX_FRAGMENTS + 1} fragments, more than {MAX_FRAGMENTS}" in read(path).problem
