"""`python -m powerd`, and the `powerd` command: serves, or does the one thing its flags ask for."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import Sequence

from powerd import log
from powerd.config import EX_CONFIG, BadConfig, Config, check, configure, parser, print_schema
from powerd.control.offline import check_store, foretell, list_installed
from powerd.daemon import Daemon
from powerd.doctor import doctor
from powerd.errors import PowerError
from powerd.listeners import CannotListen, claim_files

#: What may pass without anybody's doing: no disk space, memory or open files left, an address that is not there yet.
_PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EADDRNOTAVAIL}
)
EX_TEMPFAIL = 75


def main() -> None:
    """Run the daemon (or one of its checks) and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """The `powerd` command; returns the exit code."""
    flags = parser().parse_args(argv)
    if flags.check:
        return check(flags, os.environ)
    if flags.schema:
        return print_schema()
    if flags.doctor:
        return doctor(flags, os.environ)
    try:
        config = configure(flags, os.environ)
    except BadConfig as error:
        sys.stderr.write("".join(f"powerd: {problem}\n" for problem in error.problems))
        return EX_CONFIG
    log.configure(config.settings.log.format, config.settings.log.level)
    try:
        if flags.fsck:
            return check_store(config.paths.store, repair=flags.repair, as_json=flags.json)
        if flags.installed:
            return list_installed(config.settings, config.paths)
        if flags.plan is not None or flags.diff:
            return foretell(config.settings, config.paths, flags.plan, as_json=flags.json)
        asyncio.run(_serve_and_leave(config))
    except (CannotListen, PowerError) as error:
        sys.stderr.write(f"powerd: {error}\n")
        return _status(error.__cause__)
    except OSError as error:
        sys.stderr.write(f"powerd: {error.filename or ''}: {error.strerror}\n")
        return _status(error)
    return 0


def _status(cause: BaseException | None) -> int:
    """The exit status: another one where starting again may help than where somebody must change something first."""
    passes = isinstance(cause, OSError) and cause.errno in _PASSING
    return EX_TEMPFAIL if passes else EX_CONFIG


async def _serve_and_leave(config: Config) -> None:
    """Run until stopped, then end the process: no thread that still waits for something may hold it."""
    claim_files()
    await Daemon(config).run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
