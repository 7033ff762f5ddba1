"""Names that say where their model runs, and what is told of models that run elsewhere."""

from __future__ import annotations

import pytest

from powerd.errors import BadRequest, Forbidden
from powerd.reconcile.remote import is_cloud, refusal, spellings


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("m", ("m",)),
        ("m:7b", ("m:7b",)),
        ("m:local", ("m:local", "m")),
        ("m:7b:Local", ("m:7b",)),
        (" h/n/m:local ", (" h/n/m:local ", "h/n/m")),
        ("m:cloud", ("m:cloud",)),
        ("m:7b:cloud", ()),
        ("a b", ("a b",)),
        ("local", ("local",)),
        ("localhost:5000/n/m", ("localhost:5000/n/m",)),
    ],
)
def test_names_are_looked_for_as_sent_and_without_local(text: str, names: tuple[str, ...]) -> None:
    assert spellings(text) == names


@pytest.mark.parametrize("text", ["m:local:cloud", "m:cloud:local", "m:7b-cloud:LOCAL", " m:7b:local:cloud "])
def test_a_name_cannot_ask_for_both_places(text: str) -> None:
    with pytest.raises(BadRequest, match="use either :local or :cloud, not both"):
        spellings(text)


@pytest.mark.parametrize(
    ("text", "cloud"),
    [
        *((text, True) for text in ("m:cloud", "M:CLOUD", "m:7b-cloud", "h/n/m:7b-Cloud", "m:7b:cloud ")),
        *((text, False) for text in ("m", "cloud", "m-cloud", "m:cloudy", "cloud:7b", "h:1-cloud/n/m", "m:cloud:7b")),
    ],
)
def test_what_ollama_takes_for_a_model_of_its_cloud(text: str, cloud: bool) -> None:
    assert is_cloud(text) is cloud


@pytest.mark.parametrize("host", ["", "ollama.com", "https://ollama.com:443", "HTTPS://OLLAMA.COM", "ollama.com:443"])
def test_the_clouds_models_are_refused_as_with_the_cloud_disabled(host: str) -> None:
    assert isinstance(refusal(host), Forbidden)


@pytest.mark.parametrize("host", ["http://elsewhere", "ollama.com.elsewhere", "http://[::1]:11434", "x://[bad"])
def test_other_hosts_models_are_no_business_of_this_server(host: str) -> None:
    assert refusal(host).message == "this server cannot run this remote model"
