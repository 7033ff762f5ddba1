"""The system calls under the store: modes that no umask changes, fsync in order, errors that name the path."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from powerd.errors import BadRequest, NoSpace, PowerError, StoreFailed
from powerd.quantities import show_bytes
from powerd.store.failpoints import reach

DIRECTORY_MODE = 0o750
MANIFEST_MODE = 0o640
BLOB_MODE = 0o440

Stamp = tuple[int, int, int]


def stamp(path: Path, *, follow: bool = True) -> Stamp | None:
    """What changes when a regular file does: mtime in ns, size, inode. None when there is no such file."""
    try:
        status = path.stat(follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if stat.S_ISREG(status.st_mode) else None


@contextlib.contextmanager
def regular(path: Path, *, follow: bool = True) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading and never hang on anything else. Yields descriptor and status.

    Raises OSError for a path that cannot be opened and for devices, FIFOs, sockets and directories.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield fd, status
    finally:
        os.close(fd)


def read_small(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """The bytes of a regular file of at most `limit` bytes. Raises OSError, EFBIG for a larger one."""
    with regular(path, follow=follow) as (fd, status):
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {show_bytes(limit)}", str(path))
        with os.fdopen(os.dup(fd), "rb") as file:
            return file.read(limit)


def make_directories(path: Path) -> None:
    """Make `path` and what is missing above it, durably."""
    missing = []
    while not path.is_dir() and path != path.parent:
        missing.append(path)
        path = path.parent
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            each.mkdir()
            each.chmod(DIRECTORY_MODE)
            sync_directory(each.parent)


def sync_file(fd: int) -> None:
    """Put a file's bytes on the medium; plain fsync leaves them in the drive's cache on macOS."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_empty(directory: Path, up_to: Path) -> None:
    """Remove a directory and those above it as far as they are empty, `up_to` excepted, durably."""
    while directory != up_to:
        try:
            directory.rmdir()
        except OSError:
            return
        with contextlib.suppress(OSError):
            sync_directory(directory.parent)
        directory = directory.parent


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def replace_file(temporary: Path, path: Path, data: bytes, mode: int) -> None:
    """Put `data` at `path` in one step by way of `temporary` on the same file system, durably."""
    reach("replace.before_create")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.fchmod(fd, mode)
            reach("replace.before_write")
            write_all(fd, data)
            reach("replace.before_sync")
            sync_file(fd)
        finally:
            os.close(fd)
        reach("replace.before_rename")
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    reach("replace.after_rename")
    sync_directory(path.parent)
    reach("replace.after_directory_sync")


def available(path: Path) -> int:
    """Bytes that may still be written on the file system of `path`."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


@contextlib.contextmanager
def naming(path: Path, doing: str, needed: int = 0) -> Iterator[None]:
    """Turn system errors into NoSpace or StoreFailed that name `path`; `needed` bytes were about to be written."""
    try:
        yield
    except OSError as error:
        raise explain(error, path, doing, needed) from error


def explain(error: OSError, path: Path, doing: str, needed: int = 0) -> PowerError:
    """The failure a person is told: what was being done, where, and the system's reason."""
    if error.errno == errno.ENAMETOOLONG:
        return BadRequest("invalid model name")
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return StoreFailed(f"{doing} {path}: {error.strerror or error}")
    if error.errno == errno.EDQUOT:
        return NoSpace(f"{doing} {path}: the disk quota of this user is used up")
    try:
        status = os.statvfs(path if path.is_dir() else path.parent)
    except OSError:
        return NoSpace(f"{doing} {path}: no space left on the disk")
    if status.f_files and not status.f_favail:
        return NoSpace(f"{doing} {path}: no inodes left on this file system")
    have = status.f_bavail * status.f_frsize
    return NoSpace(f"{doing} {path}: no space left: need {show_bytes(needed)}, have {show_bytes(have)}")
