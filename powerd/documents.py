"""Documents: one look at the files that declare models, models.yaml and the fragments in models.d beside it.

Never raises and never hangs: what is wrong with a file is said in a sentence, with what to do. Files that others than
root and we ourselves could change are refused, and so are such directories, because whoever puts a file there decides
what this machine runs.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from powerd.files import MAX_BYTES, regular
from powerd.paths import fragments_directory, is_fragment

#: Files in models.d; each is opened at every look.
MAX_FRAGMENTS = 1000


@dataclass(frozen=True, slots=True)
class Reading:
    """One look: the texts by path, models.yaml first, then the fragments by name; or what keeps them from being read.

    No texts and no problem: nothing is declared. `mark` changes whenever any of the files may have.
    """

    documents: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class _Look:
    """One file: its bytes, or why there are none; a missing file has neither."""

    path: Path
    data: bytes | None = None
    problem: str = ""
    mark: str = ""


def read(path: Path, also: Iterable[Path] = (), *, guarded: bool = True) -> Reading:
    """The files as they are: models.yaml at `path` (absolute), and its fragments.

    The contents of `also`, files that the declarations refer to, count in the mark alone. Unless `guarded`, it does
    not matter who else could change them.
    """
    fragments, problem = _fragments(path, guarded)
    looks = [_look(one, guarded) for one in (path, *fragments)]
    marks = [f"{look.path}={look.mark}" for look in looks if look.mark]
    problems = [problem, *(look.problem for look in looks)]
    texts = {str(look.path): look.data for look in looks if look.data is not None}
    if sum(map(len, texts.values())) > MAX_BYTES:
        problems.append(f"{path} and its models.d together are larger than {MAX_BYTES} bytes")
    documents: dict[str, str] = {}
    for name, data in texts.items():
        try:
            documents[name] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            problems.append(f"{name}: not UTF-8 at byte {error.start}")
    wrong = next(filter(None, problems), "")
    if wrong or marks:
        marks += [wrong, *(f"{one}={_contents(one)}" for one in also)]
    return Reading({} if wrong else documents, wrong, "\n".join(marks))


def _fragments(path: Path, guarded: bool) -> tuple[list[Path], str]:
    """The fragments there are, and what is wrong with their directory."""
    directory = fragments_directory(path)
    try:
        doubt = _doubt(directory, directory.stat()) if guarded else ""
        found = [one for one in sorted(directory.iterdir()) if not one.name.startswith(".")]
    except FileNotFoundError:
        return [], f"{directory}: the symbolic link points to nothing" if directory.is_symlink() else ""
    except OSError as error:
        return [], _refusal(directory, error)
    fragments = [one for one in found if is_fragment(one, path)]
    odd = [one for one in found if one.suffix == ".yml" or (one.suffix == ".yaml" and not one.name.isprintable())]
    if odd and not doubt:
        doubt = f"{directory}: the name of a fragment is plain text that ends in .yaml; rename {odd[0].name!a}"
    if len(fragments) > MAX_FRAGMENTS and not doubt:
        doubt = f"{directory}: holds {len(fragments)} fragments, more than {MAX_FRAGMENTS}; make them fewer files"
    return ([], doubt) if doubt else (fragments, "")


def _look(path: Path, guarded: bool) -> _Look:
    try:
        with regular(path) as file:
            about = os.fstat(file.fileno())
            mark = f"{about.st_dev}:{about.st_ino}:{about.st_size}:{about.st_mtime_ns}"
            doubt = _doubt(path, about) or _open_to_all(path.parent) if guarded else ""
            if doubt:
                return _Look(path, None, doubt, mark)
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return _Look(path, None, f"{path}: the symbolic link points to nothing" if path.is_symlink() else "")
    except OSError as error:
        return _Look(path, None, _refusal(path, error))
    if len(data) > MAX_BYTES:
        return _Look(path, None, f"{path}: larger than {MAX_BYTES} bytes", mark)
    return _Look(path, data, "", f"{mark}:{hashlib.sha256(data).hexdigest()}")


def _doubt(path: Path, about: os.stat_result) -> str:
    """Who else could change what lies there."""
    if about.st_mode & stat.S_IWOTH and not _read_only(path):
        return f"{path}: writable by everybody; run chmod o-w on it"
    if about.st_uid not in {0, os.geteuid()}:
        return f"{path}: owned by uid {about.st_uid}, not by root or uid {os.geteuid()}"
    return ""


def _open_to_all(directory: Path) -> str:
    """Whether anybody may replace the files of a directory; the sticky bit (as on /tmp) forbids it."""
    mode = directory.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX and not _read_only(directory):
        return f"{directory}: writable by everybody, who could replace the files in it; run chmod o-w on it"
    return ""


def _read_only(path: Path) -> bool:
    """Whether nobody can write there whatever the mode says, as in a mounted ConfigMap."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _refusal(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"{path}: permission denied for uid {os.geteuid()}; make it readable"
    return f"{path}: {(error.strerror or str(error)).lower()}"


def _contents(path: Path) -> str:
    """The hash of a file that is referred to; what is wrong with it is for those who use it to say."""
    try:
        with regular(path) as file:
            return hashlib.sha256(file.read(MAX_BYTES + 1)).hexdigest()
    except OSError as error:
        return f"errno {error.errno}"
