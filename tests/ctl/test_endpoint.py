from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
from pathlib import Path

import pytest

from powerd.ctl import endpoint


@pytest.mark.parametrize(
    ("explicit", "environ", "uid", "paths"),
    [
        ("/a", {"POWER_SOCKET": "/b"}, 0, ["/a"]),
        (None, {"POWER_SOCKET": "/b", "POWER_STATE": "/s"}, 1000, ["/b"]),
        (None, {}, 0, ["/run/power/control.sock"]),
        (None, {"POWER_STATE": "/s"}, 0, ["/s/control.sock", "/run/power/control.sock"]),
        (
            None,
            {"XDG_RUNTIME_DIR": "/run/user/1", "HOME": "/h"},
            1000,
            ["/run/user/1/power/control.sock", "/h/.local/share/power/control.sock", "/run/power/control.sock"],
        ),
        (None, {"HOME": "/h"}, 1000, ["/h/.local/share/power/control.sock", "/run/power/control.sock"]),
        (None, {"XDG_DATA_HOME": "/d"}, 1000, ["/d/power/control.sock", "/run/power/control.sock"]),
        (
            None,
            {"POWER_HOME": "/s", "HOME": "/h"},
            1000,
            ["/s/control.sock", "/h/.local/share/power/control.sock", "/run/power/control.sock"],
        ),
    ],
)
def test_where_the_socket_is_looked_for(
    explicit: str | None, environ: dict[str, str], uid: int, paths: list[str]
) -> None:
    assert endpoint.candidates(explicit, environ, uid) == [Path(path) for path in paths]


def connect(path: Path) -> OSError:
    """The real error of a real attempt."""
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(OSError, match=r".*") as caught:
        sock.connect(str(path))
    return caught.value


def test_a_missing_socket_says_how_to_start_powerd(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    message = endpoint.explain([(path, connect(path))])
    assert f"{path}: there is no socket" in message
    assert "Start powerd" in message
    assert "--socket PATH or POWER_SOCKET" in message


def test_c01_a_stale_socket_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    assert f"{path}: nobody is listening" in endpoint.explain([(path, connect(path))])


def test_c01_what_is_no_socket_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path):
        assert f"{path}: this is not a socket" in endpoint.explain([(path, connect(path))])


def test_c01_a_path_too_long_for_a_socket_says_so(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    assert "longer than the 107 bytes" in endpoint.explain([(path, connect(path))])


def test_permission_denied_names_mode_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    tmp_path.chmod(0o750)
    path.chmod(0o660)
    message = endpoint.explain([(path, PermissionError(errno.EACCES, "Permission denied"))])
    assert f"{tmp_path} has mode 0750, owner {_me()}, group " in message
    assert f"{path} has mode 0660" in message
    assert "Start powerd" not in message
    assert "run powerctl as the socket's owner, or use sudo" in message


def test_permission_denied_names_the_group_to_join(tmp_path: Path) -> None:
    if os.getuid() == 0:
        os.chown(tmp_path, 0, 54321)
    group = _group(tmp_path.stat().st_gid)
    denied = PermissionError(errno.EACCES, "Permission denied")
    tmp_path.chmod(0o750)
    assert f"join the group `{group}` (`sudo usermod -aG {group} $USER`" in endpoint.explain([(tmp_path / "s", denied)])
    tmp_path.chmod(0o700)
    assert "usermod" not in endpoint.explain([(tmp_path / "s", denied)])


def test_a_directory_that_cannot_be_entered_is_survived() -> None:
    denied = PermissionError(errno.EACCES, "Permission denied")
    message = endpoint.explain([(Path("/nowhere/at/all"), denied)])
    assert "permission denied (its directory cannot be entered)" in message


def test_every_place_that_was_tried_is_listed(tmp_path: Path) -> None:
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory")
    message = endpoint.explain([(tmp_path / "a", missing), (tmp_path / "b", missing)])
    assert [line.strip() for line in message.splitlines()[1:3]] == [
        f"{tmp_path}/a: there is no socket",
        f"{tmp_path}/b: there is no socket",
    ]


def _me() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
