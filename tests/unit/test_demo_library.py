"""The generated library is reproducible and labelled; library folders load."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import CORPUS

from hydindex.demo.generated_library import generate_library
from hydindex.standin.state import HydrusFile, load_folder, true_pairs

PICTURES = 60


@pytest.fixture(scope="module")
def library() -> list[HydrusFile]:
    return generate_library(pictures=PICTURES)


def test_the_seed_determines_the_library_and_the_size_only_its_end(
    library: list[HydrusFile],
) -> None:
    assert len({file.hash for file in library}) == PICTURES
    assert len({file.thumbnail for file in library}) == PICTURES
    assert generate_library(pictures=PICTURES) == library
    assert generate_library(pictures=10) == library[:10]
    other = generate_library(seed=8, pictures=PICTURES)
    assert not {file.hash for file in other} & {file.hash for file in library}
    assert other[0].thumbnail != library[0].thumbnail


def test_some_scenes_have_copies(library: list[HydrusFile]) -> None:
    files_of_base = Counter(base for file in library for base in file.base)
    alone = sum(count == 1 for count in files_of_base.values())
    assert 0.25 < alone / len(files_of_base) < 0.75
    assert max(files_of_base.values()) <= 5
    pairs = sum(count * (count - 1) // 2 for count in files_of_base.values())
    assert len(true_pairs(library)) == pairs > 0


def write_folder(folder: Path, files: list[HydrusFile]) -> None:
    (folder / "thumbs").mkdir()
    rows = []
    for file in files:
        row = dataclasses.asdict(file) | {"duration": file.duration_ms, "base": sorted(file.base)}
        (folder / "thumbs" / file.hash).write_bytes(row.pop("thumbnail"))
        del row["tags"], row["video"]
        rows.append(row)
    (folder / "files.json").write_text(json.dumps(rows))


def test_a_written_folder_loads_unchanged(tmp_path: Path, library: list[HydrusFile]) -> None:
    write_folder(tmp_path, library)
    tags = frozenset({"meta:mine"})
    expected = [dataclasses.replace(file, tags=tags) for file in library]
    assert load_folder(tmp_path, tags) == expected
    (tmp_path / "thumbs" / library[1].hash).unlink()
    with pytest.raises(ValueError, match=f"thumbs.{library[1].hash} can't be read"):
        load_folder(tmp_path, ())


@pytest.mark.parametrize(
    ("listing", "complaint"),
    [
        (None, "files.json can't be read"),
        ("[{", "is not a list of files"),
        ('{"hash": "aa"}', "is not a list of files"),
        ('[{"hash": "aa"}]', "lacks the field 'ext'"),
    ],
)
def test_a_folder_with_another_layout_is_refused(
    tmp_path: Path, listing: str | None, complaint: str
) -> None:
    if listing is not None:
        (tmp_path / "files.json").write_text(listing)
    with pytest.raises(ValueError, match=complaint):
        load_folder(tmp_path, ())


@pytest.mark.skipif(
    not CORPUS.is_dir(), reason="needs the labelled corpus, which is not part of the project"
)
def test_the_labelled_corpus_loads() -> None:
    files = load_folder(CORPUS, {"meta:demo"})
    assert len(files) == 474
    assert len(true_pairs(files)) == 346
