"""kill -9 at every step of the reconciler (K01, K02, K07): a restart converges, and the work ends as if nothing was."""

from __future__ import annotations

import json
import re
from pathlib import Path

import powerd.reconcile
from powerd.store.failpoints import RECONCILE_POINTS
from tests.apart import apart


def test_every_point_that_is_listed_is_reached_somewhere_and_the_other_way_round() -> None:
    text = "".join(path.read_text() for path in Path(powerd.reconcile.__path__[0]).rglob("*.py"))
    assert set(re.findall(r'reach\("([a-z_.]+)"\)', text)) == set(RECONCILE_POINTS)


def test_k07_killed_at_every_step_a_restart_converges_to_the_same_end(tmp_path: Path) -> None:
    done = apart("tests.reconcile.dies", tmp_path)
    told = json.loads(done.stdout.rpartition("\n")[2])
    code, start, end = told.pop("")
    assert (code, start) == (0, end), done.stderr
    assert end["served"].keys() == {"a", "b"}
    for point, (code, resumed, ended) in told.items():
        assert code == -9, (point, done.stderr)
        assert resumed is not None, (point, done.stderr)
        assert resumed["settled"], point
        assert resumed["leftovers"] == [], point
        assert set(resumed["manifests"]) == resumed["served"].keys() == set(resumed["recorded"]), point
        assert resumed["served"].keys() in ({"a", "b"}, {"a", "d"}), point
        assert ended == end, point
