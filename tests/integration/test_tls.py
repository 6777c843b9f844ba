"""https with the certificate that Hydrus generates: self-signed, for localhost."""

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
def test_a_trusted_certificate_is_accepted(home: Home, address: str, tls: dict[str, Any]) -> None:
    home.configure(api_url=address, tls=tls)
    assert home.update()["files"]["indexed"] == 4
    warnings = home.run("update", "--quiet").err
    assert warnings.count("tls.verify is false") == ("verify" in tls)
    assert "InsecureRequestWarning" not in warnings


@pytest.mark.parametrize(
    ("address", "tls"),
    [
        (BY_NAME, {}),
        (BY_NUMBER, {"ca_bundle": "client.crt"}),
        (BY_NUMBER, {"ca_bundle": "other.crt", "server_name": "localhost"}),
        (BY_NUMBER, {"ca_bundle": "client.crt", "server_name": "example.org"}),
    ],
    ids=["self-signed", "other name", "other certificate", "other server_name"],
)
def test_any_other_certificate_is_refused_before_the_key_is_sent(
    home: Home, client: StandIn, tmp_path: Path, address: str, tls: dict[str, Any]
) -> None:
    make_certificate(tmp_path, "other")
    home.configure(api_url=address, tls=tls)
    error = home.fail("update", expect=3, kind="hydrus_bad_reply")
    assert "cannot be trusted" in error
    assert "tls.ca_bundle" in error
    assert client.requests == []


def test_certificates_and_proxies_of_the_environment_are_ignored(
    home: Home, client: StandIn, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    home.configure(api_url=BY_NAME)
    assert "cannot be trusted" in home.run("update").err
    assert client.requests == []

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(make_certificate(certificate.parent, "other")))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    home.configure(api_url=BY_NAME, tls={"ca_bundle": "client.crt"})
    assert home.run("update").exit_code == 0
    assert client.requests


def test_a_wrong_setting_is_named(home: Home, client: StandIn, tmp_path: Path) -> None:
    (tmp_path / "empty.crt").write_text("no certificate")
    for tls, named in (
        ({"ca_bundle": "missing.crt"}, "missing.crt"),
        ({"ca_bundle": "empty.crt"}, "empty.crt"),
        ({"verify": False}, "no effect while verify is false"),
        ({"verify": True, "ca_bundle": ""}, "ca_bundle"),
    ):
        home.configure(tls=tls)
        assert named in home.fail("update", expect=2)
    assert client.requests == []
