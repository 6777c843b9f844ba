"""Follow the docs: run their commands and load their configs.

Each page is followed from top to bottom, in a folder of its own, with a stand-in client and a small
library. Of its fenced blocks

- `console` is run line by line: what follows `$ ` is a command, which must exit with 0; its output
  must contain the lines below it in this order, where `...` stands for anything;
- `json` is merged into `hydrus_config.json`, or into the file that `title=` names, which must then
  be a valid config;
- any other language is an error.

The address and the key of the stand-in replace those of a snippet.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from made_certificate import make_certificate

from hydindex.config import config_file
from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import StandIn

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
PAGES = sorted([CHECKOUT / "README.md", *DOCS.rglob("*.md")])

NOT_RUN = {
    "make demo": "it creates an environment and runs hydindex demo, as the tutorial does",
    "python3 -m venv .venv": "the tests already have an environment",
    ". .venv/bin/activate": "",
    "python -m pip install --constraint constraints.txt .": "it would change that environment",
    'pipx install --pip-args="--constraint $PWD/constraints.txt" .': "it would install a command",
    "uv tool install --constraints constraints.txt --torch-backend cpu .": "",
    "hydindex init": "it asks questions; test_init.py answers them",
    "hydindex schedule --at 04:30 --install": "it would install a timer; see test_schedule.py",
    "loginctl enable-linger": "it would change the machine",
    "docker build --tag hydindex --file container/Containerfile .": "it needs Docker",
    "docker run --interactive --tty --rm --network host --volume hydindex:/data hydindex init": "",
    "docker run --detach --restart unless-stopped --network host --volume hydindex:/data "
    "--env HYDINDEX_AT=04:30 --env TZ=Europe/Berlin --name hydindex hydindex": "",
    "docker exec hydindex hydindex stats": "",
}

FENCE = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    """A fenced block of a page."""

    place: str
    language: str
    title: str | None
    text: str


def snippets(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for fence in FENCE.finditer(text):
        indent, language, options, body = fence.groups()
        title = re.search(r'title="([^"]+)"', options)
        line = text.count("\n", 0, fence.start()) + 1
        body = re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        place = f"{page.relative_to(CHECKOUT)}, line {line}"
        yield Snippet(place, language, title[1] if title else None, body)


class Reader:
    """Follows a page, with a config for a running client."""

    def __init__(self, folder: Path, client: StandIn) -> None:
        self.folder = folder
        self._config = folder / "hydrus_config.json"
        self._client = {
            "api_key": client.SEARCH_AND_RELATIONSHIPS_KEY,
            "api_url": client.url,
            "api_port": client.port,
        }
        self._config.touch(mode=0o600)
        shipped = json.loads((CHECKOUT / self._config.name).read_text(encoding="utf-8"))
        videos = {"tags": ["system:filetype is video"]}
        self._config.write_text(json.dumps(shipped | videos | self._client), encoding="utf-8")

    def write(self, name: str, values: dict[str, Any]) -> None:
        """Merge values into a config; a new one starts as a copy of the first."""
        path = self.folder / name
        if not path.exists():
            shutil.copy(self._config, path)
        read = json.loads(path.read_text(encoding="utf-8"))
        real = {key: value for key, value in self._client.items() if key in values}
        path.write_text(json.dumps(_merged(read, values | real)), encoding="utf-8")
        config_file.load(path)

    def run(self, command: str) -> str:
        """Run a command in the folder, and return its output."""
        commands = Path(sys.executable).parent  # contains `hydindex`
        environment = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert ended.returncode == 0, f"$ {command}\n{ended.stdout}"
        return ended.stdout


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in changes.items():
        is_section = isinstance(value, dict) and isinstance(values.get(key), dict)
        merged[key] = _merged(values[key], value) if is_section else value
    return merged


def commands_in(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of a console block, each with the output below it."""
    before, *blocks = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert before.strip() == "", f"This console block begins without a command:\n{text}"
    for block in blocks:
        command, *shown = block.splitlines()
        yield command, shown


def require_lines(shown: list[str], output: str) -> None:
    """Check that output contains the lines that a page shows, in this order."""
    rest = iter(output.splitlines())
    for line in filter(lambda each: each not in ("", "..."), map(str.strip, shown)):
        pattern = re.sub(r"(\\ )+", r"\\s+", re.escape(line).replace(r"\.\.\.", ".*"))
        assert any(re.fullmatch(pattern, each.strip()) for each in rest), (
            f"The output lacks the line: {line}\n{output}"
        )


@pytest.fixture
def client(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StandIn]:
    """A client with a small library of videos and still images.

    The page about https gets one whose certificate is beside the config.
    """
    context = None
    if request.node.callspec.params["page"].name == "remote.md":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(make_certificate(tmp_path, "client"))
    images = [
        replace(file, mime="image/jpeg", ext=".jpg", duration_ms=None, num_frames=None)
        for file in generate_library(seed=4, pictures=20)
    ]
    with StandIn([*generate_library(seed=3, pictures=100), *images], tls=context) as client:
        yield client


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(snippets(page))], ids=lambda page: page.stem
)
def test_the_examples_of_a_page_work(page: Path, tmp_path: Path, client: StandIn) -> None:
    reader = Reader(tmp_path, client)
    for snippet in snippets(page):
        try:
            if snippet.language == "json":
                name = snippet.title or "hydrus_config.json"
                reader.write(name, json.loads(snippet.text))
            elif snippet.language == "console":
                for command, shown in commands_in(snippet.text):
                    if command not in NOT_RUN:
                        require_lines(shown, reader.run(command))
        except Exception as error:
            raise AssertionError(f"{snippet.place}: {error}") from error


def test_every_command_and_config_is_in_a_block_that_is_tested() -> None:
    documented: set[str] = set()
    for page in PAGES:
        for snippet in snippets(page):
            assert snippet.language in ("console", "json"), snippet.place
            if snippet.language == "console":
                documented |= {command for command, _ in commands_in(snippet.text)}
        if page.parent.name == "how-to" or page.stem in ("README", "tutorial", "index"):
            unmarked = FENCE.sub("", page.read_text(encoding="utf-8"))
            example = r"```|^ {4,}(\$ |hydindex |make |python|\{)"
            assert not re.search(example, unmarked, re.MULTILINE), page
    assert set(NOT_RUN) <= documented


def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("material")
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=CHECKOUT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout
    assert "WARNING" not in ended.stdout
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link)[^>]* (?:src|href)="(https?:[^"]*)"', page.read_text("utf-8")
        )
        assert loaded == [], page
    for name in ("config", "commands", "exit-codes", "json"):
        assert (tmp_path / "reference" / f"{name}.html").exists()


def test_relative_links_outside_of_the_site_exist() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (CHECKOUT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (CHECKOUT / target).exists(), f"{name}: {target}"
