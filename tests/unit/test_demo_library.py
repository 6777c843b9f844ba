"""The generated library is the same every time, labelled, and shaped like a real one."""

import dataclasses
import json
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from hydindex.demo.generated_library import generate_library
from hydindex.standin.library_files import HydrusFile, load_folder, true_pairs

PICTURES = 60
CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"


@pytest.fixture(scope="module")
def library() -> list[HydrusFile]:
    return generate_library(pictures=PICTURES)


def test_it_is_as_large_as_asked_for_and_no_file_is_there_twice(library: list[HydrusFile]) -> None:
    assert len({file.hash for file in library}) == PICTURES
    assert len({file.thumbnail for file in library}) == PICTURES


def test_it_is_the_same_for_the_same_seed_only(library: list[HydrusFile]) -> None:
    assert generate_library(pictures=PICTURES) == library
    other = generate_library(seed=8, pictures=PICTURES)
    assert not {file.hash for file in other} & {file.hash for file in library}
    assert other[0].thumbnail != library[0].thumbnail


def test_a_smaller_library_is_the_beginning_of_a_larger_one(library: list[HydrusFile]) -> None:
    assert generate_library(pictures=10) == library[:10]


def test_scenes_with_copies_and_scenes_without_are_there(library: list[HydrusFile]) -> None:
    files_of_base = Counter(base for file in library for base in file.base)
    alone = sum(count == 1 for count in files_of_base.values())
    assert 0.25 < alone / len(files_of_base) < 0.75
    assert max(files_of_base.values()) <= 5
    pairs = sum(count * (count - 1) // 2 for count in files_of_base.values())
    assert len(true_pairs(library)) == pairs > 0


def test_copies_are_as_long_as_their_original_within_300_ms(library: list[HydrusFile]) -> None:
    original = {file.base: file for file in library if "copy:original" in file.tags}
    for file in library:
        assert file.duration_ms is not None
        assert abs(file.duration_ms - (original[file.base].duration_ms or 0)) < 300


def test_unrelated_files_of_one_length_are_there(library: list[HydrusFile]) -> None:
    lengths = {(file.duration_ms, file.base) for file in library}
    assert max(Counter(duration for duration, _base in lengths).values()) >= 3


def test_thumbnails_are_jpegs_fitted_into_the_box_in_the_shape_of_the_video(
    library: list[HydrusFile],
) -> None:
    for file in library:
        assert file.width is not None
        assert file.height is not None
        picture = Image.open(BytesIO(file.thumbnail))
        assert picture.format == "JPEG"
        width, height = picture.size
        assert (width == 150 and height <= 125) or (height == 125 and width <= 150)
        assert width / height == pytest.approx(file.width / file.height, rel=0.02)


def write_folder(folder: Path, files: list[HydrusFile]) -> None:
    (folder / "thumbs").mkdir()
    rows = []
    for file in files:
        row = dataclasses.asdict(file)
        row["duration"] = row.pop("duration_ms")
        row["base"] = sorted(file.base)
        del row["thumbnail"], row["tags"]
        rows.append(row)
        (folder / "thumbs" / file.hash).write_bytes(file.thumbnail)
    (folder / "files.json").write_text(json.dumps(rows))


def test_a_folder_gives_back_what_was_written(tmp_path: Path, library: list[HydrusFile]) -> None:
    tags = {"meta:mine"}
    retagged = [dataclasses.replace(file, tags=frozenset(tags)) for file in library]
    write_folder(tmp_path, retagged)
    assert load_folder(tmp_path, tags) == retagged


@pytest.mark.parametrize(
    ("listing", "complaint"),
    [
        (None, "can't be read"),
        ("[{", "is not JSON"),
        ('{"hash": "aa"}', "not a list"),
        ('[{"hash": "aa"}]', "lacks a field"),
    ],
)
def test_a_folder_of_another_kind_is_refused(
    tmp_path: Path, listing: str | None, complaint: str
) -> None:
    if listing is not None:
        (tmp_path / "files.json").write_text(listing)
    with pytest.raises(ValueError, match=complaint):
        load_folder(tmp_path, ())


def test_a_missing_thumbnail_is_named(tmp_path: Path, library: list[HydrusFile]) -> None:
    write_folder(tmp_path, library[:2])
    (tmp_path / "thumbs" / library[1].hash).unlink()
    with pytest.raises(ValueError, match=f"thumbs/{library[1].hash}"):
        load_folder(tmp_path, ())


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the measuring corpus is not beside the checkout")
def test_the_measuring_corpus_loads() -> None:
    files = load_folder(CORPUS, {"meta:demo"})
    assert len(files) == 474
    assert len(true_pairs(files)) == 346
