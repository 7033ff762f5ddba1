"""The probe as a process, against its protocol."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from powerd.jobs import FromProbe, Probe, Probed, ProbeFailed
from powerd.protocol import HEADER, MAX_FRAME, Deployment, Shape, encode
from powerd.store.gguf import read_header
from tests.job_child import JobChild

DEMO = Path(__file__).parents[2] / "powerd/demo/tiny-chat-q8_0.gguf"


def demo(**fields: object) -> Deployment:
    values = {"weights": str(DEMO), "weights_digest": "0" * 64, "context": 1024, "parallel": 4}
    shape = msgspec.to_builtins(read_header(DEMO).shape())
    return msgspec.convert(values | {"shape": shape} | fields, Deployment)


def test_it_tells_the_engine_its_devices_and_what_a_process_holds_without_a_model() -> None:
    with JobChild("powerd.probe", FromProbe) as helper:
        (answer,) = helper.answers(encode(Probe()))
        assert isinstance(answer, Probed)
        assert answer.engine.startswith("llama.cpp via llama-cpp-python ")
        assert 4 << 20 < answer.idle < 400 << 20
        assert (answer.process, answer.compute) == (0, {})
        assert helper.process.wait(20) == 0


def test_a_dry_load_tells_buffers_and_the_process_without_loading_anything() -> None:
    with JobChild("powerd.probe", FromProbe) as helper:
        (answer,) = helper.answers(encode(Probe(demo())))
        assert isinstance(answer, Probed)
        assert 8 << 20 < answer.compute["cpu"] < 9 << 20
        assert answer.idle < answer.process < answer.idle + (12 << 20), "the vocabulary and graphs, no weights or cells"


def test_the_dry_load_is_of_the_deployment_asked_about() -> None:
    sizes = []
    for fields in ({"batch": 64}, {}, {"flash_attention": "off"}):
        with JobChild("powerd.probe", FromProbe) as helper:
            (answer,) = helper.answers(encode(Probe(demo(**fields))))
            assert isinstance(answer, Probed)
            sizes.append(answer.compute["cpu"])
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("content", [None, b"GGUF", b"no model at all" * 100])
def test_it_says_why_it_cannot(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights"
    if content is not None:
        path.write_bytes(content)
    with JobChild("powerd.probe", FromProbe) as helper:
        (answer,) = helper.answers(encode(Probe(demo(weights=str(path)))))
        assert isinstance(answer, ProbeFailed)
        assert answer.reason
        assert not answer.missing
        assert helper.process.wait(20) == 1


@pytest.mark.parametrize("data", [HEADER.pack(3) + b"abc", HEADER.pack(MAX_FRAME + 1)])
def test_a_job_that_does_not_decode_ends_it(data: bytes) -> None:
    with JobChild("powerd.probe", FromProbe) as helper:
        assert helper.answers(data) == []
        assert helper.process.wait(20) == 76


def test_it_leaves_with_the_daemon() -> None:
    with JobChild("powerd.probe", FromProbe) as helper:
        helper.socket.close()
        assert helper.process.wait(20) == 0


def test_wrong_usage_is_told() -> None:
    done = subprocess.run([sys.executable, "-m", "powerd.probe"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (64, "usage: python -m powerd.probe FD\n")


def test_shapes_are_no_matter_to_it() -> None:
    with JobChild("powerd.probe", FromProbe) as helper:
        (answer,) = helper.answers(encode(Probe(msgspec.structs.replace(demo(), shape=Shape(0, 0, 0, 0, 0, 0)))))
        assert isinstance(answer, Probed)
