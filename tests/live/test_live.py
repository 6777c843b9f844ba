"""hydindex keeps its promises against a real Hydrus client; see the README.md beside this file."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from itertools import combinations, count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from PIL import Image

URL = os.environ.get("HYDINDEX_LIVE_URL", "").rstrip("/")
KEY = os.environ.get("HYDINDEX_LIVE_KEY", "")
PLAIN_KEY = os.environ.get("HYDINDEX_LIVE_PLAIN_KEY", "")
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not (URL and KEY),
        reason="needs a Hydrus client, named by HYDINDEX_LIVE_URL and HYDINDEX_LIVE_KEY",
    ),
]

# Relationships as Hydrus takes them, and the keys under which it gives them back.
SET_FALSE_POSITIVE, SET_SAME_QUALITY, SET_ALTERNATE, SET_A_BETTER = 1, 2, 3, 4
POTENTIAL, FALSE_POSITIVE, DUPLICATE = KINDS = ("0", "1", "8")
COPIES: list[dict[str, Any]] = [{}, {"crf": 38}, {"scale": 0.5}, {"brightness": 25}]

Pair = frozenset[str]


def video(
    scene: int, *, crf: int = 20, scale: float = 1.0, brightness: int = 0, veiled: bool = False
) -> bytes:
    """Film two seconds of a slow way over coloured hills; every scene has hills of its own.

    A veiled one shows nothing for a while: just where Hydrus takes the thumbnail, at 35 %.
    """
    av = pytest.importorskip("av", reason="needs PyAV, which makes the videos")
    hills = np.random.default_rng(scene).integers(0, 230, (12, 16, 3), np.uint8) + brightness
    landscape = Image.fromarray(hills.astype(np.uint8)).resize((400, 300), Image.Resampling.BICUBIC)
    size = (round(320 * scale), round(240 * scale))
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": str(crf)})
        stream.width, stream.height = size
        for step in range(20):
            view = landscape.crop((2 * step, step, 2 * step + 320, step + 240)).resize(size)
            if veiled and 5 <= step < 10:
                view = Image.new("RGB", size, "grey")
            container.mux(stream.encode(av.VideoFrame.from_image(view)))
        container.mux(stream.encode())
    return file.getvalue()


def pairs_of(hashes: Iterable[str]) -> set[Pair]:
    return {Pair(pair) for pair in combinations(hashes, 2)}


class Client:
    """The real client, in plain requests; and the files that one test imported."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.headers["Hydrus-Client-API-Access-Key"] = KEY
        services = self.get("/get_services")
        tag_services = {each["name"]: each["service_key"] for each in services["local_tags"]}
        self._my_tags = tag_services["my tags"]
        self._storage = services["all_local_files"][0]["service_key"]
        self._known_files = services["all_known_files"][0]["service_key"]
        seed = secrets.randbits(48)
        self.scenes = count(seed)
        self.tag = f"hydindex live test {seed}"
        self.files: list[str] = []

    def get(self, path: str, **query: str) -> Any:
        return self._send("GET", path, params=query).json()

    def post(self, path: str, **body: Any) -> None:
        self._send("POST", path, json=body)

    def add(self, content: bytes, *, tagged: bool = True) -> str:
        """Import a file that the client never had, and show it to hydindex by its tag."""
        kind = {"Content-Type": "application/octet-stream"}
        reply = self._send("POST", "/add_files/add_file", data=content, headers=kind).json()
        assert reply["status"] == 1, reply
        file: str = reply["hash"]
        self.files.append(file)
        if tagged:
            tags = {self._my_tags: [self.tag]}
            self.post("/add_tags/add_tags", hash=file, service_keys_to_tags=tags)
        return file

    def add_copies(self, number: int) -> list[str]:
        """Import that many files that show a new scene: a video, and altered copies of it."""
        scene = next(self.scenes)
        return [self.add(video(scene, **each)) for each in COPIES[:number]]

    def relate(self, files: Sequence[str], relationship: int) -> None:
        row = {"hash_a": files[0], "hash_b": files[1], "relationship": relationship}
        rows = [{**row, "do_default_content_merge": False}]
        self.post("/manage_file_relationships/set_file_relationships", relationships=rows)

    def related(self, kind: str) -> set[Pair]:
        """Give each file together with each of its partners, those in the trash included."""
        path = "/manage_file_relationships/get_file_relationships"
        hashes = json.dumps(self.files)
        reply = self.get(path, hashes=hashes, file_service_key=self._known_files)
        rows = reply["file_relationships"]
        return {Pair((file, other)) for file in self.files for other in rows[file][kind]}

    def popups(self) -> dict[str, list[str]]:
        """Give the texts of hydindex's popups, by their keys."""
        popups = self.get("/manage_popups/get_popups", only_in_view="false")["job_statuses"]
        return {
            each["key"]: [each["status_text_1"], each["status_text_2"]]
            for each in popups
            if each.get("status_title") == "hydindex"
        }

    def trash(self, file: str) -> None:
        self.post("/add_files/delete_files", hash=file)

    def delete(self, *files: str) -> None:
        self.post("/add_files/delete_files", hashes=files, file_service_key=self._storage)

    def clean_up(self) -> None:
        if self.files:
            self.delete(*self.files)
            self.post("/add_files/clear_file_deletion_record", hashes=self.files)
        self._session.close()

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        reply = self._session.request(method, URL + path, timeout=60, **arguments)
        assert reply.status_code == 200, reply.text
        return reply


class Hydindex:
    """The command, run as a user runs it, with a config that selects one test's files."""

    def __init__(self, folder: Path, tag: str) -> None:
        address = urlsplit(URL)
        self._config_path = folder / "hydrus_config.json"
        self.config: dict[str, Any] = {
            "api_url": f"{address.scheme}://{address.hostname}",
            "api_port": address.port,
            "api_key": KEY,
            "tags": ["system:filetype is video", tag],
        }

    def run(self, *words: str, expect: int = 0) -> Any:
        """Run a command, and give what it prints with --json."""
        self._config_path.write_text(json.dumps(self.config), encoding="utf-8")
        options = ("--config", str(self._config_path), "--json")
        command = [sys.executable, "-m", "hydindex", *words, *options]
        env = {name: value for name, value in os.environ.items() if "HYDINDEX" not in name}
        ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        print(ended.stdout, ended.stderr)  # pytest shows it where a test fails
        assert ended.returncode == expect
        result = json.loads(ended.stdout)
        assert result["exit_code"] == expect
        return result


@pytest.fixture
def client() -> Iterator[Client]:
    connected = Client()
    yield connected
    connected.clean_up()


@pytest.fixture
def hydindex(client: Client, tmp_path: Path) -> Hydindex:
    return Hydindex(tmp_path, client.tag)


def test_copies_are_posted_once_and_other_videos_never(client: Client, hydindex: Hydindex) -> None:
    copies = pairs_of(client.add_copies(4)) | pairs_of(client.add_copies(4))
    client.add_copies(1)

    first = hydindex.run("update")
    assert first["files"]["found"] == first["files"]["indexed"] == first["files"]["new"] == 9
    assert first["pairs"]["posted"] == first["pairs"]["matched"] == len(copies)
    assert client.related(POTENTIAL) == copies

    again = hydindex.run("update")
    assert again["files"] == {**first["files"], "new": 0, "ingested": 0}
    assert again["pairs"] == dict.fromkeys(again["pairs"], 0)
    assert again["seconds"]["fetch"] == again["seconds"]["prepare"] == 0
    assert client.related(POTENTIAL) == copies


def test_what_the_user_decides_stands(client: Client, hydindex: Hydindex) -> None:
    different, same, removed = (client.add_copies(2) for _ in range(3))
    assert hydindex.run("update")["pairs"]["posted"] == 3
    client.relate(different, SET_FALSE_POSITIVE)
    client.relate(same, SET_SAME_QUALITY)
    client.post("/manage_file_relationships/remove_potentials", hash=removed[0])

    decided = [set(), pairs_of(different), pairs_of(same)]
    assert [client.related(kind) for kind in KINDS] == decided

    assert hydindex.run("update")["pairs"]["posted"] == 0
    hydindex.config["preprocessing"] = {"preBlurSigma": 1.2}
    assert hydindex.run("update", expect=4)["error"]["kind"] == "config_changed"
    rebuild = hydindex.run("rebuild")
    assert (rebuild["pairs"]["matched"], rebuild["pairs"]["queued"]) == (3, 0)
    assert rebuild["seconds"]["fetch"] == 0
    assert hydindex.run("update")["pairs"]["posted"] == 0
    assert [client.related(kind) for kind in KINDS] == decided


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        (SET_FALSE_POSITIVE, "false_positive"),
        (SET_SAME_QUALITY, "duplicate"),
        (SET_A_BETTER, "duplicate"),
        (SET_ALTERNATE, "alternate"),
    ],
)
def test_the_next_run_notes_what_the_user_decided(
    client: Client, hydindex: Hydindex, decision: int, outcome: str
) -> None:
    decided, _ = client.add_copies(2), client.add_copies(2)
    assert hydindex.run("update")["pairs"]["posted"] == 2
    client.relate(decided, decision)
    hydindex.run("update")
    outcomes = ("duplicate", "alternate", "false_positive", "open")
    bands = hydindex.run("stats")["decisions"]
    noted = {each: sum(band[each] for band in bands) for each in outcomes}
    assert noted == {**dict.fromkeys(outcomes, 0), outcome: 1, "open": 1}


@pytest.mark.parametrize("key", [KEY, PLAIN_KEY], ids=["permits everything", "plain"])
def test_doubtful_pairs_are_decided_by_frames(client: Client, hydindex: Hydindex, key: str) -> None:
    if not key:
        pytest.skip("needs a key that may not see local paths: HYDINDEX_LIVE_PLAIN_KEY")
    scene = next(client.scenes)
    copies = [client.add(video(scene, scale=scale, veiled=True)) for scale in (1.0, 0.5)]
    client.add(video(next(client.scenes), veiled=True))
    hydindex.config |= {
        "api_key": key,
        "decision": {"method": "calibrated"},
        "frames": {"enabled": True},
    }
    counts = hydindex.run("update")["frame_verification"]
    bytes_fetched = counts.pop("bytes")
    assert counts == {**dict.fromkeys(counts, 0), "verified": 3, "matched": 1, "sampled": 3}
    # The client may run on another machine than the tests.
    path = Path(client.get("/get_files/file_path", hash=copies[0])["path"])
    assert (bytes_fetched == 0) == (key == KEY and path.is_file())
    assert client.related(POTENTIAL) == pairs_of(copies)
    again = hydindex.run("update")["frame_verification"]
    assert again == dict.fromkeys(again, 0)


def test_a_file_in_the_trash_is_gone_until_it_returns(client: Client, hydindex: Hydindex) -> None:
    scene = next(client.scenes)
    trashed, kept = client.add(video(scene)), client.add(video(scene, scale=0.5))
    hydindex.run("update")
    client.trash(trashed)
    new = client.add(video(scene, brightness=25))
    update = hydindex.run("update")
    assert (update["files"]["found"], update["files"]["gone"]) == (2, 1)
    assert client.related(POTENTIAL) == {Pair((trashed, kept)), Pair((kept, new))}

    client.post("/add_files/undelete_files", hash=trashed)
    update = hydindex.run("update")
    assert (update["files"]["new"], update["files"]["returned"]) == (0, 1)
    assert update["seconds"]["fetch"] == 0
    assert (update["pairs"]["scored"], update["pairs"]["posted"]) == (1, 1)
    assert client.related(POTENTIAL) == pairs_of((trashed, kept, new))


def test_a_pair_that_was_decided_before_is_known(client: Client, hydindex: Hydindex) -> None:
    one, other, third = client.add_copies(3)
    client.relate((one, other), SET_FALSE_POSITIVE)
    client.relate((one, third), SET_SAME_QUALITY)  # so it is no copy of the other either
    pairs = hydindex.run("update")["pairs"]
    assert (pairs["matched"], pairs["known"], pairs["posted"]) == (3, 3, 0)
    assert client.related(POTENTIAL) == set()


@pytest.mark.parametrize("remove", [None, Client.trash, Client.delete])
def test_a_pair_with_a_member_of_a_group_is_posted_under_its_king(
    client: Client, hydindex: Hydindex, remove: Callable[[Client, str], None] | None
) -> None:
    scene = next(client.scenes)
    king = client.add(video(scene), tagged=False)
    member, copy = client.add(video(scene, scale=0.5)), client.add(video(scene, brightness=25))
    client.relate((king, member), SET_A_BETTER)
    if remove is not None:
        remove(client, king)
    pairs = hydindex.run("update")["pairs"]
    assert (pairs["matched"], pairs["posted"], pairs["refused"]) == (1, 1, 0)
    assert client.related(POTENTIAL) == pairs_of((king, copy)) | pairs_of((member, copy))
    assert client.related(DUPLICATE) == pairs_of((king, member))
    assert hydindex.run("update")["pairs"]["posted"] == 0


@pytest.mark.parametrize(
    ("name", "value", "exit_code", "kind"),
    [
        ("api_key", "0123456789abcdef" * 4, 3, "hydrus_access"),
        ("tags", ["system:no such predicate"], 2, "config"),
    ],
)
def test_a_config_that_cannot_work_says_so(
    hydindex: Hydindex, name: str, value: Any, exit_code: int, kind: str
) -> None:
    hydindex.config[name] = value
    assert hydindex.run("update", expect=exit_code)["error"]["kind"] == kind


def test_an_update_shows_a_popup_if_it_did_something(client: Client, hydindex: Hydindex) -> None:
    hydindex.config["popup"] = {"enabled": True}
    client.add_copies(2)
    earlier = client.popups()
    hydindex.run("update")
    (new,) = client.popups().keys() - earlier.keys()
    files, pairs = client.popups()[new]
    assert files.startswith("Files: 2 found; 2 new")
    assert pairs.startswith("Pairs: 1 posted")
    hydindex.run("update")
    assert client.popups().keys() == {*earlier, new}
    client.post("/manage_popups/dismiss_popup", job_status_key=new)
