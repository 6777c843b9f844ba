"""`hydindex init`, with and without a terminal."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import USUAL_PORTS, Home, Outcome

from hydindex.config import config_file, settings
from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import StandIn

CHECKOUT = Path(__file__).parents[2]
SHIPPED = json.loads((CHECKOUT / "hydrus_config.json").read_bytes())
TIMEOUT_S = 60.0
FILES = generate_library(seed=3, pictures=6)


@pytest.fixture
def new(home: Home) -> Home:
    """A folder without a config."""
    home.config.unlink()
    return home


def stand_in(port: int = 0, **settings: Any) -> StandIn:
    client = StandIn(FILES, **settings)
    client.port = port
    return client


def config_of(home: Home) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(home.config.read_text(encoding="utf-8"))
    return values


def is_private(path: Path) -> bool:
    return os.name != "posix" or path.stat().st_mode & 0o777 == 0o600


# Without a terminal


@pytest.mark.usefixtures("usual_ports")
def test_without_a_terminal_init_writes_the_defaults_and_the_port_that_answers(new: Home) -> None:
    with socket.create_server(("127.0.0.1", USUAL_PORTS[0])), stand_in(USUAL_PORTS[1]) as client:
        outcome = new.run("init")
        assert {request.path for request in client.requests} == {"/api_version"}
    assert outcome.exit_code == 0
    expected = {**SHIPPED, "api_port": USUAL_PORTS[1], "tags": ["system:filetype is video"]}
    assert config_of(new) == {"$schema": "./hydrus_config.schema.json", **expected}
    assert "init --overwrite" in outcome.out
    assert "hydindex check" in outcome.out
    assert is_private(new.config)
    written = {each.name for each in new.folder.iterdir()}
    assert written == {"hydrus_config.json", "hydrus_config.schema.json"}


@pytest.mark.usefixtures("usual_ports")
@pytest.mark.usefixtures("usual_ports")
def test_without_a_client_init_writes_the_defaults_and_lists_what_to_do(new: Home) -> None:
    outcome = new.run("init")
    assert outcome.exit_code == 0
    assert config_of(new)["api_port"] == SHIPPED["api_port"]
    assert "No Hydrus client answers at http://127.0.0.1 on port 45869 or 42001" in outcome.out


def test_a_key_from_the_environment_is_not_written(
    new: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDINDEX_API_KEY", StandIn.SEARCH_AND_RELATIONSHIPS_KEY)
    outcome = new.run("init")
    written = "".join(each.read_text(encoding="utf-8") for each in new.folder.iterdir())
    assert StandIn.SEARCH_AND_RELATIONSHIPS_KEY not in written + outcome.out + outcome.err
    assert config_file.load(new.config).api_key == StandIn.SEARCH_AND_RELATIONSHIPS_KEY


def test_an_existing_config_is_replaced_only_with_overwrite(home: Home) -> None:
    before = home.config.read_bytes()
    home.config.chmod(0o644)
    refused = home.run("init")
    assert refused.exit_code == 2
    assert "--overwrite" in refused.err
    assert home.config.read_bytes() == before
    assert home.run("init", "--overwrite").exit_code == 0
    assert config_of(home)["similarity_threshold"] == SHIPPED["similarity_threshold"]
    assert is_private(home.config)


def test_a_path_that_cannot_be_written_is_an_error(new: Home) -> None:
    new.config = new.folder / "missing" / "hydrus_config.json"
    outcome = new.run("init")
    assert outcome.exit_code == 2
    assert "cannot be written" in outcome.err
    assert list(new.folder.iterdir()) == []


def test_the_schema_explains_every_key(new: Home) -> None:
    assert new.run("init").exit_code == 0
    schema = json.loads((new.folder / "hydrus_config.schema.json").read_bytes())

    def require_explained(described: dict[str, Any], values: dict[str, Any]) -> None:
        assert values.keys() <= described["properties"].keys()
        for key, value in described["properties"].items():
            if "$ref" in value:
                section = schema["$defs"][value["$ref"].rpartition("/")[2]]
                assert section["description"]
                assert section["additionalProperties"] is False
                require_explained(section, values.get(key, {}))
            else:
                assert value["description"], key
                assert "default" in value, key

    require_explained(schema, config_of(new))
    hamming = schema["$defs"]["AverageHash"]["properties"]["hammingMax"]
    assert (hamming["minimum"], hamming["maximum"], hamming["default"]) == (0, 64, 32)


# At a terminal


class Terminal:
    """A pseudo-terminal in which `hydindex init` runs, and the user who answers."""

    def __init__(self, home: Home, *words: str, **environment: str) -> None:
        pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
        self._terminal, theirs = pty.openpty()
        self.run = subprocess.Popen(
            [sys.executable, "-m", "hydindex", "init", "--config", str(home.config), *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        os.close(theirs)
        self._seen_to = 0
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Wait for a text after the one that was last waited for."""
        while text not in self.shown[self._seen_to :]:
            assert self._read(), f"{text!r} is not in {self.shown!r}"
        self._seen_to = self.shown.index(text, self._seen_to) + len(text)

    def answer(self, question: str, answer: str = "") -> None:
        self.wait_for(question)
        self.send(answer + "\n")

    def send(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def end(self) -> Outcome:
        while self._read():
            pass
        exit_code = self.run.wait(TIMEOUT_S)
        os.close(self._terminal)
        return Outcome(exit_code, self.shown, "")

    def _read(self) -> bool:
        """Read what the terminal shows; return whether it is still open."""
        if not select.select([self._terminal], [], [], TIMEOUT_S)[0]:
            return False
        try:
            read = os.read(self._terminal, 4096)
        except OSError:  # on Linux: the other end is closed
            return False
        self.shown += read.decode().replace("\r\n", "\n")
        return bool(read)


@pytest.mark.usefixtures("usual_ports")
def test_the_dialog_leads_from_a_running_client_to_a_working_config(new: Home) -> None:
    with stand_in(USUAL_PORTS[0]) as client:
        terminal = Terminal(new)
        terminal.answer(f"Address of the Client API [http://127.0.0.1:{USUAL_PORTS[0]}]")
        terminal.wait_for("client api > add > from api request")
        client.open_permission_dialog()
        terminal.wait_for("then apply")
        client.approve()
        terminal.answer("Search [system:filetype is video]")
        outcome = terminal.end()
        assert outcome.exit_code == 0, outcome.out
        assert f"finds {len(FILES)} files" in outcome.out
        requested = [each for each in client.requests if each.path == "/request_new_permissions"]
        assert (requested[0].status, requested[-1].status) == (409, 200)
        assert requested[-1].query == {
            "name": "hydindex",
            "permits_everything": "false",
            "basic_permissions": "[3, 8]",
        }
        key = config_of(new)["api_key"]
        assert len(bytes.fromhex(key)) == 32
        assert key not in outcome.out
        assert is_private(new.config)
        checked = new.run("check", "--json")
        assert {each["severity"] for each in checked.json["findings"]} == {"ok"}
        assert new.run("update").exit_code == 0


def test_the_dialog_asks_again_after_wrong_answers(new: Home) -> None:
    with stand_in(hydrus_version=682) as client:
        client.open_permission_dialog()
        terminal = Terminal(new)
        terminal.answer("Address", "ftp://127.0.0.1:1")
        terminal.answer("This is not an address", "127.0.0.1:many")
        terminal.answer("This is not an address", "127.0.0.1:9")
        terminal.wait_for("did not answer")
        terminal.answer("Address", f"127.0.0.1:{client.port}")
        terminal.wait_for("Hydrus v682 answers")
        terminal.wait_for("then apply")
        client.approve(permissions={3})
        terminal.wait_for("lacks the permission 'edit file relationships'")
        (key,) = (each.query for each in client.requests if each.path.endswith("new_permissions"))
        assert key["basic_permissions"] == "[3, 8]"
        client.approve(permissions={3, 8})
        terminal.answer("Search", "system:filetype is vidio")
        terminal.wait_for("Could not parse system predicate")
        terminal.answer("Search", "system:filetype is video, nobody:knows this")
        terminal.wait_for("finds 0 files")
        assert terminal.end().exit_code == 0
    assert config_of(new)["tags"] == ["system:filetype is video", "nobody:knows this"]
    assert config_of(new)["api_port"] == client.port


@pytest.mark.parametrize(
    ("opens_dialog", "complaint"), [(False, "dialog"), (True, "refused access")]
)
def test_without_approval_init_gives_up_and_leaves_nothing_behind(
    new: Home, opens_dialog: bool, complaint: str
) -> None:
    with stand_in() as client:
        if opens_dialog:
            client.open_permission_dialog()
        terminal = Terminal(new, "--wait", "1.5")
        terminal.answer("Address", f"127.0.0.1:{client.port}")
        outcome = terminal.end()
    assert outcome.exit_code == 3
    assert complaint in outcome.out
    assert list(new.folder.iterdir()) == []


@pytest.mark.parametrize("key", ["Ctrl-D", "Ctrl-C"])
@pytest.mark.usefixtures("ctrl_c_works")
def test_quitting_the_dialog_writes_nothing(new: Home, key: str) -> None:
    terminal = Terminal(new)
    terminal.wait_for("Address")
    assert all(is_private(each) for each in new.folder.iterdir())
    if key == "Ctrl-D":
        terminal.send("\x04")
    else:
        terminal.run.send_signal(signal.SIGINT)
    outcome = terminal.end()
    assert outcome.exit_code == 130
    assert "no config was written" in outcome.out
    assert list(new.folder.iterdir()) == []


def test_the_dialog_tests_a_key_from_the_environment_and_does_not_write_it(new: Home) -> None:
    with stand_in() as client:
        address = f"http://127.0.0.1:{client.port}"
        refused = Terminal(new, HYDINDEX_API_KEY=StandIn.SEARCH_ONLY_KEY)
        refused.answer("Address", address)
        outcome = refused.end()
        assert outcome.exit_code == 3
        assert "lacks the permission" in outcome.out
        assert list(new.folder.iterdir()) == []

        terminal = Terminal(new, HYDINDEX_API_KEY=StandIn.SEARCH_AND_RELATIONSHIPS_KEY)
        terminal.answer("Address", address)
        terminal.answer("Search")
        outcome = terminal.end()
    assert outcome.exit_code == 0
    assert config_of(new)["api_key"] == settings.PLACEHOLDER_KEY
    assert StandIn.SEARCH_AND_RELATIONSHIPS_KEY not in outcome.out
