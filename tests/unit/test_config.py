"""The config file means what it says, and whatever is wrong with it is named."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hydindex
from hydindex.common.errors import ConfigError
from hydindex.config.config_file import index_path, load
from hydindex.config.settings import API_KEY_VARIABLE, Config
from hydindex.matching.calibrated.model import SHIPPED as SHIPPED_MODEL
from hydindex.matching.recipe import RecipeChange, changes, needs_preparation, recipe_of

SHIPPED_FILE = Path(__file__).parents[2] / "hydrus_config.json"
SHIPPED: dict[str, Any] = json.loads(SHIPPED_FILE.read_text(encoding="utf-8"))


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key that holds no further keys, with its value."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


SHIPPED_LEAVES = dict(leaves(SHIPPED))


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)


def nested(key: str, value: Any) -> Any:
    """`nested("a.b", 1)` is {"a": {"b": 1}}."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def written(folder: Path, content: Any) -> Path:
    path = folder / "hydrus_config.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, content: Any) -> Config:
    return load(written(folder, content))


def complaint(folder: Path, content: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, content)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    return caught.value.message


# What is right


def test_the_shipped_config_holds_the_defaults_but_for_its_tags_and_how_it_decides() -> None:
    shipped = load(SHIPPED_FILE).model_dump()
    assert shipped.pop("tags") == SHIPPED["tags"]
    assert shipped["decision"].pop("method") == "calibrated"
    defaults = Config().model_dump(exclude={"tags": True, "decision": {"method"}})
    assert shipped == defaults


def test_an_empty_config_has_a_default_for_every_key(tmp_path: Path) -> None:
    assert loaded(tmp_path, {}) == Config()


@pytest.mark.parametrize(("key", "value"), SHIPPED_LEAVES.items())
def test_every_key_of_the_shipped_config_is_read(key: str, value: Any, tmp_path: Path) -> None:
    found: Any = loaded(tmp_path, nested(key, value)).model_dump(mode="json", by_alias=True)
    for part in key.split("."):
        found = found[part]
    assert found == value


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    assert loaded(tmp_path, '\ufeff{"api_port": 45869}').api_port == 45869


def test_tags_may_hold_or_groups(tmp_path: Path) -> None:
    tags = ["system:filetype is video", ["meta:pd", "meta:cc0"]]
    assert loaded(tmp_path, {"tags": tags}).tags == tags


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("http://127.0.0.1", "http://127.0.0.1:45869"),
        ("http://127.0.0.1/", "http://127.0.0.1:45869"),
        ("https://hydrus.example", "https://hydrus.example:45869"),
        ("https://example.org/behind/a/proxy/", "https://example.org:45869/behind/a/proxy"),
        ("http://[::1]", "http://[::1]:45869"),
    ],
)
def test_the_base_url_joins_scheme_host_port_and_path(
    url: str, base_url: str, tmp_path: Path
) -> None:
    assert loaded(tmp_path, {"api_url": url, "api_port": 45869}).base_url == base_url


def test_the_index_lies_beside_the_config(tmp_path: Path) -> None:
    assert index_path(Config(), tmp_path / "config.json") == tmp_path / "hydindex.db"


def test_a_relative_index_path_counts_from_the_config_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = loaded(tmp_path, {"index": {"path": "elsewhere/videos.db"}})
    assert index_path(config, tmp_path / "c.json") == tmp_path / "elsewhere" / "videos.db"
    monkeypatch.chdir(tmp_path)
    assert index_path(config, Path("c.json")) == tmp_path / "elsewhere" / "videos.db"


def test_an_absolute_index_path_stays_as_it_is(tmp_path: Path) -> None:
    absolute = tmp_path / "videos.db"
    config = loaded(tmp_path, {"index": {"path": str(absolute)}})
    assert index_path(config, tmp_path / "other" / "config.json") == absolute


# The access key


@pytest.mark.parametrize("key", ["your-hydrus-api-key-here", "", "  "])
def test_a_key_that_is_not_set_is_refused_when_it_is_needed(key: str, tmp_path: Path) -> None:
    config = loaded(tmp_path, {"api_key": key})
    with pytest.raises(ConfigError, match="api_key") as caught:
        config.require_key()
    assert API_KEY_VARIABLE in caught.value.remedy


def test_the_environment_overrides_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "from the environment")
    assert loaded(tmp_path, {"api_key": "from the file"}).require_key() == "from the environment"
    assert loaded(tmp_path, {}).require_key() == "from the environment"


def test_an_empty_variable_leaves_the_key_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "")
    assert loaded(tmp_path, {"api_key": "from the file"}).require_key() == "from the file"


# Keys of the older script


def test_keys_that_are_no_longer_needed_are_accepted_and_listed(tmp_path: Path) -> None:
    older = {"ahash": {"prefixBits": 12}, "ssim_parallel": {"enabled": True, "workers": 4}}
    config = loaded(tmp_path, older)
    assert config.superseded_keys == ["ahash.prefixBits", "ssim_parallel"]
    assert loaded(tmp_path, {}).superseded_keys == []


@pytest.mark.parametrize(
    ("values", "chattiness"),
    [
        ({}, 1),
        ({"verbosity": 0}, 0),
        ({"verbosity": 1}, 1),
        ({"verbosity": 2}, 2),
        ({"verbose": True}, 2),
        ({"verbose": True, "verbosity": 0}, 2),
    ],
)
def test_either_verbosity_key_says_how_much_is_logged(
    values: dict[str, Any], chattiness: int, tmp_path: Path
) -> None:
    assert loaded(tmp_path, values).chattiness == chattiness


@pytest.mark.parametrize(
    ("values", "in_flight"),
    [
        ({}, 8),
        ({"network": {"max_connections": 3}}, 3),
        ({"ahash": {"io_workers": 2}}, 2),
        ({"ahash": {"io_workers": 20}, "network": {"max_connections": 12}}, 12),
    ],
)
def test_no_key_for_workers_or_connections_is_exceeded(
    values: dict[str, Any], in_flight: int, tmp_path: Path
) -> None:
    assert loaded(tmp_path, values).thumbnails_in_flight == in_flight


def test_the_older_back_off_is_taken(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"network": {"backoff_factor": 2}}).network.backoff_factor == 2.0


# What is wrong


@pytest.mark.parametrize(
    ("key", "within", "beyond"),
    [
        ("api_port", [1, 65_535], [0, 65_536]),
        ("verbosity", [0, 2], [-1, 3]),
        ("candidate_generation.tolSeconds", [0, 86_400], [-0.1, 86_401]),
        ("candidate_generation.arTol", [0, 1], [-0.01, 1.01]),
        ("ahash.resize", [[8, 1024]], [[7, 64], [64, 1025]]),
        ("ahash.hammingMax", [0, 64], [-1, 65]),
        ("ahash.io_workers", [1, 64], [0, 65]),
        ("preprocessing.fixedResize", [[2048, 256]], [[7, 256], [256, 2049]]),
        ("preprocessing.preBlurSigma", [0, 64], [-0.1, 65]),
        ("preprocessing.centerFrac", [1], [0, 1.01]),
        ("preprocessing.trimStrength", [0, 1], [-0.01, 1.01]),
        ("preprocessing.minKeepFrac", [0, 1], [-0.01, 1.01]),
        ("similarity_threshold", [0, 1], [-0.01, 1.01]),
        ("post.batch_size", [1, 10_000], [0, 10_001]),
        ("post.max_retries", [0, 100], [-1, 101]),
        ("post.retry_pause_s", [0, 3600], [-0.1, 3601]),
        ("timeouts.api", [0.1], [0, -1]),
        ("timeouts.thumb", [0.1], [0, -1]),
        ("timeouts.post", [0.1], [0, -1]),
        ("network.max_connections", [1, 64], [0, 65]),
        ("network.backoff_factor", [0, 60], [-0.1, 61]),
    ],
)
def test_a_value_is_taken_up_to_its_limits_and_refused_beyond(
    key: str, within: list[Any], beyond: list[Any], tmp_path: Path
) -> None:
    for value in within:
        loaded(tmp_path, nested(key, value))
    for value in beyond:
        assert f"  {key}" in complaint(tmp_path, nested(key, value))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_what_is_no_finite_number_is_refused(number: str, tmp_path: Path) -> None:
    message = complaint(tmp_path, f'{{"similarity_threshold": {number}}}')
    assert "  similarity_threshold: " in message


@pytest.mark.parametrize(("key", "value"), SHIPPED_LEAVES.items())
def test_a_wrong_type_is_refused_wherever_it_stands(key: str, value: Any, tmp_path: Path) -> None:
    wrong: list[Any] = [None, {}, 7 if isinstance(value, str | bool | list) else str(value)]
    for other in wrong:
        assert f"  {key}: " in complaint(tmp_path, nested(key, other))


@pytest.mark.parametrize("section", [key for key, value in SHIPPED.items() if type(value) is dict])
def test_a_section_that_is_no_object_is_refused(section: str, tmp_path: Path) -> None:
    assert f"  {section}: " in complaint(tmp_path, {section: 3})


@pytest.mark.parametrize("tags", [[], [[]], [""], [" "], [["a", ""]], [["a", ["b"]]], [1], "a"])
def test_tags_that_cannot_be_searched_are_refused(tags: Any, tmp_path: Path) -> None:
    assert "  tags" in complaint(tmp_path, {"tags": tags})


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1", "ftp://127.0.0.1", "http://", "http://me:secret@host", "http://host/?x=1", ""],
)
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    assert "  api_url: " in complaint(tmp_path, {"api_url": url})


def test_a_port_in_the_address_is_sent_to_its_own_key(tmp_path: Path) -> None:
    assert "put 42001 into api_port" in complaint(tmp_path, {"api_url": "http://127.0.0.1:42001"})


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("similarity_treshold", "similarity_threshold"),
        ("ApiKey", "api_key"),
        ("preprocessing.preBlurSimga", "preprocessing.preBlurSigma"),
        ("ahash.hamming_max", "ahash.hammingMax"),
        ("index_path", "index.path"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    unknown: str, nearest: str, tmp_path: Path
) -> None:
    message = complaint(tmp_path, nested(unknown, 1))
    assert f'unknown key "{unknown}"; the nearest known one is "{nearest}"' in message


@given(
    name=st.text(st.characters(exclude_categories=["Cs"])), section=st.sampled_from(["", "post"])
)
def test_no_unknown_key_is_passed_over(
    name: str, section: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    known = SHIPPED["post"] if section else Config.model_fields
    if name in known:
        return
    content = {section: {name: 1}} if section else {name: 1}
    assert f'unknown key "{section and section + "."}{name}"' in complaint(
        tmp_path_factory.getbasetemp(), content
    )


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    message = complaint(tmp_path, {"api_port": 0, "verbose": "no", "post": {"batch": 1}})
    assert "  api_port: " in message
    assert "  verbose: " in message
    assert 'unknown key "post.batch"' in message


@pytest.mark.parametrize(
    "text", ['{"verbose": true, "verbose": true}', '{"ahash": {"verbose": 1, "verbose": 2}}']
)
def test_a_repeated_key_is_refused(text: str, tmp_path: Path) -> None:
    assert '"verbose" twice' in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n  "verbose": true\n  "api_port": 1\n}', "line 3, column 3"),
        ('{"verbose": True}', "line 1, column 13"),
        ("", "line 1, column 1"),
        ('{"api_port": 1', "line 1, column 15"),
    ],
)
def test_broken_json_is_refused_with_line_and_column(text: str, place: str, tmp_path: Path) -> None:
    assert place in complaint(tmp_path, text)


@pytest.mark.parametrize("text", ["[]", '"text"', "3", "null"])
def test_a_config_that_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    assert "no JSON object" in complaint(tmp_path, text)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.json"
    with pytest.raises(ConfigError, match=r"nowhere\.json") as caught:
        load(path)
    assert "--config" in caught.value.remedy


def test_a_config_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"api_key": "\xff\xfe"}')
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)


@pytest.mark.parametrize(
    ("size_px", "fraction", "enough"),
    [
        ([161, 256], 1.0, True),
        ([160, 256], 1.0, False),
        ([256, 160], 1.0, False),
        ([230, 256], 0.70, True),  # 161
        ([200, 256], 0.80, False),  # 160
    ],
)
def test_ms_ssim_needs_more_than_160_pixels_on_the_shorter_side_and_ssim_does_not(
    size_px: list[int], fraction: float, enough: bool, tmp_path: Path
) -> None:
    values = {"fixedResize": size_px, "centerFrac": fraction}
    loaded(tmp_path, {"preprocessing": {**values, "useMSSSIM": False}})
    if enough:
        loaded(tmp_path, {"preprocessing": values})
    else:
        message = complaint(tmp_path, {"preprocessing": values})
        assert "preprocessing: fixedResize x centerFrac leaves 160 pixels" in message


def test_ssim_needs_a_window_s_width(tmp_path: Path) -> None:
    small = {"fixedResize": [12, 12], "useMSSSIM": False}
    loaded(tmp_path, {"preprocessing": {**small, "centerFrac": 0.6}})
    message = complaint(tmp_path, {"preprocessing": {**small, "centerFrac": 0.5}})
    assert "leaves 6 pixels" in message


# What a rebuild depends on

# Another value for every key, and whether it changes nothing, the comparison, or what is prepared,
# where the threshold rule decides.
NOTHING, COMPARISON, PREPARATION = "nothing", "comparison", "preparation"
OTHER_VALUES: dict[str, tuple[Any, str]] = {
    "api_key": ("another", NOTHING),
    "api_url": ("https://example.org", NOTHING),
    "api_port": (45869, NOTHING),
    "tags": (["system:everything"], NOTHING),
    "verbose": (True, NOTHING),
    "verbosity": (2, NOTHING),
    "progress.enabled": (False, NOTHING),
    "progress.type": ("tqdm", NOTHING),
    "filters.use_ar_filter": (False, COMPARISON),
    "filters.use_ahash_prefilter": (False, COMPARISON),
    "candidate_generation.tolSeconds": (2.0, COMPARISON),
    "candidate_generation.arTol": (0.1, COMPARISON),
    "ahash.resize": ([32, 64], PREPARATION),
    "ahash.hammingMax": (16, COMPARISON),
    "ahash.io_workers": (2, NOTHING),
    "ahash.prefixBits": (8, NOTHING),
    "preprocessing.fixedResize": ([256, 240], PREPARATION),
    "preprocessing.toGray": (False, PREPARATION),
    "preprocessing.preBlurSigma": (0.7, PREPARATION),
    "preprocessing.histEq": (True, PREPARATION),
    "preprocessing.useMSSSIM": (False, COMPARISON),
    "preprocessing.centerFrac": (0.8, PREPARATION),
    "preprocessing.trimStrength": (0.2, PREPARATION),
    "preprocessing.minKeepFrac": (0.5, PREPARATION),
    "similarity_threshold": (0.7, COMPARISON),
    "decision.method": ("calibrated", PREPARATION),
    "decision.min_probability": (0.9, NOTHING),
    "post.batch_size": (10, NOTHING),
    "post.max_retries": (0, NOTHING),
    "post.retry_pause_s": (0.5, NOTHING),
    "post.do_default_merge": (False, NOTHING),
    "timeouts.api": (5, NOTHING),
    "timeouts.thumb": (5, NOTHING),
    "timeouts.post": (5, NOTHING),
    "network.max_connections": (2, NOTHING),
    "network.backoff_factor": (1.0, NOTHING),
    "compare.device": ("cpu", NOTHING),
    "compare.scheduler": ("tcp://127.0.0.1:8786", NOTHING),
    "index.path": ("other.db", NOTHING),
    "ssim_parallel.workers": (3, NOTHING),
}
# The keys that count for another half where the calibrated decision does.
OTHER_VALUES_CALIBRATED: dict[str, tuple[Any, str]] = {
    "decision.method": ("threshold", PREPARATION),
    "decision.min_probability": (0.9, COMPARISON),
    "candidate_generation.tolSeconds": (2.0, COMPARISON),
    "ahash.resize": ([32, 64], PREPARATION),
    "preprocessing.fixedResize": ([256, 240], NOTHING),
    "preprocessing.useMSSSIM": (False, NOTHING),
    "preprocessing.centerFrac": (0.8, NOTHING),
    "similarity_threshold": (0.7, NOTHING),
}


def test_another_value_is_tried_for_every_shipped_key() -> None:
    assert SHIPPED_LEAVES.keys() <= OTHER_VALUES.keys()


@pytest.mark.parametrize(("key", "value", "redone"), [(k, *v) for k, v in OTHER_VALUES.items()])
def test_a_changed_key_asks_for_just_what_depends_on_it(
    key: str, value: Any, redone: str, tmp_path: Path
) -> None:
    check_change({}, key, value, redone, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "redone"), [(k, *v) for k, v in OTHER_VALUES_CALIBRATED.items()]
)
def test_under_the_calibrated_decision_just_what_it_looks_at_counts(
    key: str, value: Any, redone: str, tmp_path: Path
) -> None:
    check_change({"decision": {"method": "calibrated"}}, key, value, redone, tmp_path)


def check_change(before: dict[str, Any], key: str, value: Any, redone: str, folder: Path) -> None:
    section, _, name = key.partition(".")
    after = {**before, section: {**before.get(section, {}), name: value} if name else value}
    old = loaded(folder, before)
    found = changes(recipe_of(old), recipe_of(loaded(folder, after)))
    if redone == NOTHING:
        assert found == []
    else:
        old_value: Any = old.model_dump(mode="json", by_alias=True)[section]
        assert found == [RecipeChange(key, old_value[name] if name else old_value, value)]
    assert needs_preparation(found) == (redone == PREPARATION)


def test_another_model_asks_to_compare_again_wherever_it_lies(tmp_path: Path) -> None:
    model = json.loads(
        (Path(hydindex.__file__).parent / "matching" / "calibrated" / SHIPPED_MODEL).read_text()
    )
    (tmp_path / "same.json").write_text(json.dumps(model))
    model["weights"]["contours"] += 1.0
    (tmp_path / "other.json").write_text(json.dumps(model))

    def recipe(**decision: Any) -> dict[str, Any]:
        return recipe_of(loaded(tmp_path, {"decision": {"method": "calibrated", **decision}}))

    assert changes(recipe(), recipe(model="same.json")) == []
    (change,) = changes(recipe(), recipe(model="other.json"))
    assert change.key == "decision.model"
    assert not needs_preparation([change])


def test_a_change_is_shown_with_its_old_and_new_value() -> None:
    change = RecipeChange("ahash.hammingMax", 32, 16)
    assert all(part in str(change) for part in ("ahash.hammingMax", "32", "16"))


def test_one_changed_key_in_the_preparation_is_enough_to_prepare_again(tmp_path: Path) -> None:
    both = {"preprocessing": {"histEq": True, "useMSSSIM": False}}
    found = changes(recipe_of(Config()), recipe_of(loaded(tmp_path, both)))
    assert {change.key for change in found} == {"preprocessing.histEq", "preprocessing.useMSSSIM"}
    assert needs_preparation(found)


def test_the_same_value_written_otherwise_is_no_change(tmp_path: Path) -> None:
    text = '{"candidate_generation": {"tolSeconds": 1}, "similarity_threshold": 6e-1}'
    assert changes(recipe_of(Config()), recipe_of(loaded(tmp_path, text))) == []


def test_a_recipe_is_the_same_after_a_stay_in_json() -> None:
    recipe = recipe_of(Config())
    assert changes(json.loads(json.dumps(recipe)), recipe) == []
