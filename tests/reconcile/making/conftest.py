"""The store of the tests of sources, and no proxy between these tests and the loopback."""

from __future__ import annotations

from tests.sources.conftest import _no_proxy, store

__all__ = ["_no_proxy", "store"]
