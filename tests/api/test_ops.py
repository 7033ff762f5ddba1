"""What probes and scrapers ask."""

from __future__ import annotations

from tests.api.rig import Rig


def test_livez_and_readyz_are_200_when_all_is_well(rig: Rig) -> None:
    assert rig.get("/livez").json() == {"status": "ok"}
    assert rig.get("/readyz").json() == {"status": "ok", "reasons": []}


def test_readyz_is_503_with_the_reasons_and_livez_is_not(rig: Rig) -> None:
    rig.reasons.append("'coder' is not loaded yet")
    try:
        answer = rig.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "not ready", "reasons": ["'coder' is not loaded yet"]}
        assert rig.get("/livez").status_code == 200
        assert rig.get("/health").json()["status"] == "degraded"
        assert rig.get("/health").status_code == 200
    finally:
        rig.reasons.clear()


def test_readyz_is_503_while_stopping(rig: Rig) -> None:
    rig.stopping = True
    try:
        assert rig.get("/readyz").json()["reasons"] == ["powerd is stopping"]
        assert rig.get("/readyz").status_code == 503
    finally:
        rig.stopping = False


def test_health_tells_version_uptime_and_what_is_loaded(rig: Rig) -> None:
    rig.post("/api/generate", {"model": "demo"})
    health = rig.get("/health").json()
    assert health["version"] == "0.1.0"
    assert health["uptime"] > 0
    assert "demo:latest" in health["loaded_models"]


def test_metrics_are_prometheus_text(rig: Rig) -> None:
    rig.get("/api/version")
    answer = rig.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'power_requests_total{dialect="ollama",route="/api/version",status="200"}' in answer.text
    assert "_created" not in answer.text
