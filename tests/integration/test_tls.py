"""https, with the certificate that Hydrus makes for itself: self-signed, and for localhost."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Home
from made_certificate import make_certificate

from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import StandIn

BY_NUMBER, BY_NAME = "https://127.0.0.1", "https://localhost"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path, "client")


@pytest.fixture
def client(home: Home, certificate: Path) -> Iterator[StandIn]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with StandIn(generate_library(seed=3, pictures=4), tls=context) as client:
        home.configure(client, api_url=BY_NUMBER)
        yield client


@pytest.mark.parametrize(
    ("address", "tls"),
    [
        (BY_NAME, {"ca_bundle": "client.crt"}),
        (BY_NUMBER, {"ca_bundle": "client.crt", "server_name": "localhost"}),
        (BY_NUMBER, {"verify": False}),
    ],
)
@pytest.mark.usefixtures("client")
def test_a_certificate_that_the_config_trusts(
    home: Home, address: str, tls: dict[str, Any]
) -> None:
    home.configure(api_url=address, tls=tls)
    assert home.update()["files"]["indexed"] == 4
    told = home.run("update", "--quiet").err
    assert told.count("tls.verify is false") == (1 if tls.get("verify") is False else 0)
    assert "InsecureRequestWarning" not in told


@pytest.mark.parametrize(
    ("address", "tls"),
    [
        (BY_NAME, {}),
        (BY_NUMBER, {"ca_bundle": "client.crt"}),
        (BY_NUMBER, {"ca_bundle": "other.crt", "server_name": "localhost"}),
        (BY_NUMBER, {"ca_bundle": "client.crt", "server_name": "example.org"}),
    ],
    ids=["nobody vouches for it", "another name", "another certificate", "another server_name"],
)
def test_any_other_is_refused_before_the_key_is_sent(
    home: Home, client: StandIn, tmp_path: Path, address: str, tls: dict[str, Any]
) -> None:
    make_certificate(tmp_path, "other")
    home.configure(api_url=address, tls=tls)
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 3
    assert outcome.json["error"]["kind"] == "hydrus_bad_reply"
    assert "cannot be trusted" in outcome.json["error"]["message"]
    assert "tls.ca_bundle" in outcome.json["error"]["remedy"]
    assert client.requests == []


def test_what_the_environment_trusts_is_not_trusted(
    home: Home, client: StandIn, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests would take its certificates from there, past what the config says."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    home.configure(api_url=BY_NAME)
    assert "cannot be trusted" in home.run("update").err
    assert client.requests == []


def test_what_the_environment_does_not_trust_is_trusted_where_the_config_says_so(
    home: Home, client: StandIn, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_certificate(certificate.parent, "other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    home.configure(tls={"ca_bundle": str(certificate), "server_name": "localhost"})
    assert home.run("update").exit_code == 0
    assert client.requests


def test_no_proxy_of_the_environment_is_handed_the_key(
    home: Home, client: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    home.configure(api_url=BY_NAME, tls={"ca_bundle": "client.crt"})
    assert home.run("update").exit_code == 0
    assert client.requests


@pytest.mark.parametrize(
    ("tls", "named"),
    [
        ({"ca_bundle": "missing.crt"}, "missing.crt"),
        ({"verify": False, "ca_bundle": "client.crt"}, "no effect while verify is false"),
        ({"ca_bundle": ""}, "ca_bundle"),
        ({"ca_bundel": "client.crt"}, "tls.ca_bundle"),
    ],
)
def test_a_wrong_setting_is_named(
    home: Home, client: StandIn, tls: dict[str, Any], named: str
) -> None:
    home.configure(tls=tls)
    outcome = home.run("update")
    assert outcome.exit_code == 2
    assert named in outcome.err
    assert client.requests == []


def test_a_file_that_holds_no_certificate_is_named(
    home: Home, client: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "empty.crt").write_text("no certificate")
    home.configure(tls={"ca_bundle": "empty.crt"})
    outcome = home.run("update")
    assert outcome.exit_code == 2
    assert "empty.crt" in outcome.err
    assert client.requests == []
