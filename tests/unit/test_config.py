"""Every config key is read, checked, named if wrong, and redoes only what depends on it."""

import json
import math
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
from hydindex.matching.recipe import RecipeChange, compare_recipes, needs_preparation, recipe_of

SHIPPED_FILE = Path(__file__).parents[2] / "hydrus_config.json"
SHIPPED: dict[str, Any] = json.loads(SHIPPED_FILE.read_text(encoding="utf-8"))


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key without further keys below it, with its value."""
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


def loaded(folder: Path, content: Any) -> Config:
    path = folder / "hydrus_config.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return load(path)


def refusal(folder: Path, content: Any) -> str:
    """The message of the error that the config causes."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, content)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    return caught.value.message


# Valid configs


def test_shipped_config_differs_from_the_defaults_only_where_it_says_so() -> None:
    """The defaults are those of the original script."""
    shipped, defaults = load(SHIPPED_FILE).model_dump(), Config().model_dump()
    requires_shapes = [each["filters"].pop("use_ar_filter") for each in (shipped, defaults)]
    assert requires_shapes == [False, True]
    assert shipped.pop("tags") == SHIPPED["tags"] != defaults.pop("tags")
    methods = [each["decision"].pop("method") for each in (shipped, defaults)]
    assert methods == ["calibrated", "threshold"]
    assert shipped == defaults


@pytest.mark.parametrize(("key", "value"), SHIPPED_LEAVES.items())
def test_every_shipped_key_is_read(key: str, value: Any, tmp_path: Path) -> None:
    values = loaded(tmp_path, nested(key, value)).model_dump(mode="json", by_alias=True)
    assert dict(leaves(values))[key] == value


def test_or_groups_of_tags_and_a_byte_order_mark_are_accepted(tmp_path: Path) -> None:
    assert loaded(tmp_path, '\ufeff{"tags": ["a", ["b", "c"]]}').tags == ["a", ["b", "c"]]


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("http://127.0.0.1/", "http://127.0.0.1:45869"),
        ("https://hydrus.example", "https://hydrus.example:45869"),
        ("https://example.org/behind/a/proxy/", "https://example.org:45869/behind/a/proxy"),
        ("http://[::1]", "http://[::1]:45869"),
    ],
)
def test_base_url_joins_scheme_host_port_and_path(url: str, base_url: str, tmp_path: Path) -> None:
    assert loaded(tmp_path, {"api_url": url, "api_port": 45869}).base_url == base_url


def test_index_path_is_relative_to_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index_path(Config(), tmp_path / "config.json") == tmp_path / "hydindex.db"
    relative = loaded(tmp_path, {"index": {"path": "elsewhere/videos.db"}})
    assert index_path(relative, tmp_path / "c.json") == tmp_path / "elsewhere" / "videos.db"
    monkeypatch.chdir(tmp_path)
    assert index_path(relative, Path("c.json")) == tmp_path / "elsewhere" / "videos.db"
    absolute = loaded(tmp_path, {"index": {"path": str(tmp_path / "videos.db")}})
    assert index_path(absolute, tmp_path / "other" / "c.json") == tmp_path / "videos.db"


# The access key


@pytest.mark.parametrize("key", ["your-hydrus-api-key-here", "", "  "])
def test_a_missing_key_is_an_error_once_it_is_needed(key: str, tmp_path: Path) -> None:
    config = loaded(tmp_path, {"api_key": key})
    with pytest.raises(ConfigError, match="api_key") as caught:
        config.require_key()
    assert API_KEY_VARIABLE in caught.value.remedy


def test_the_environment_overrides_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "from the environment")
    assert loaded(tmp_path, {"api_key": "from the file"}).require_key() == "from the environment"
    assert loaded(tmp_path, {}).require_key() == "from the environment"
    monkeypatch.setenv(API_KEY_VARIABLE, "")
    assert loaded(tmp_path, {"api_key": "from the file"}).require_key() == "from the file"


# Keys of older configs


def test_keys_of_the_seed_are_accepted(tmp_path: Path) -> None:
    older = {"ahash": {"prefixBits": 12}, "ssim_parallel": {"enabled": True, "workers": 4}}
    assert loaded(tmp_path, older).ignored_keys == ["ahash.prefixBits", "ssim_parallel"]
    assert loaded(tmp_path, {}).ignored_keys == []
    assert [loaded(tmp_path, {"verbose": each}).log_level for each in (False, True)] == [1, 2]


@pytest.mark.parametrize(
    ("values", "connections"),
    [
        ({}, 8),
        ({"network": {"max_connections": 3}}, 3),
        ({"ahash": {"io_workers": 2}}, 2),
        ({"ahash": {"io_workers": 20}, "network": {"max_connections": 12}}, 12),
    ],
)
def test_io_workers_lowers_max_connections(
    values: dict[str, Any], connections: int, tmp_path: Path
) -> None:
    assert loaded(tmp_path, values).max_connections == connections


# Wrong values


@pytest.mark.parametrize(
    ("key", "within", "beyond"),
    [
        ("api_port", [1, 65_535], [0, 65_536]),
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
        ("network.backoff_factor", [0, 2, 60], [-0.1, 61]),
    ],
)
def test_ranges(key: str, within: list[Any], beyond: list[Any], tmp_path: Path) -> None:
    for value in within:
        loaded(tmp_path, nested(key, value))
    for value in beyond:
        assert f"  {key}" in refusal(tmp_path, nested(key, value))


@pytest.mark.parametrize(("key", "value"), SHIPPED_LEAVES.items())
def test_every_key_requires_its_type(key: str, value: Any, tmp_path: Path) -> None:
    wrong: list[Any] = [None, {}, 7 if isinstance(value, str | bool | list) else str(value)]
    for other in wrong:
        assert f"  {key}: " in refusal(tmp_path, nested(key, other))


BAD_TAGS = [[], [[]], [""], [" "], [["a", ""]], [["a", ["b"]]], [1]]
BAD_NUMBERS = [math.nan, math.inf, -math.inf]
BAD_URLS = ["127.0.0.1", "ftp://h", "http://", "http://me:secret@host", "http://host/?x=1", ""]


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, 3) for key, value in SHIPPED.items() if type(value) is dict]
    + [("tags", tags) for tags in BAD_TAGS]
    + [("similarity_threshold", number) for number in BAD_NUMBERS]
    + [("api_url", url) for url in BAD_URLS],
)
def test_malformed_values_are_refused(key: str, value: Any, tmp_path: Path) -> None:
    assert f"  {key}" in refusal(tmp_path, {key: value})


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
def test_an_unknown_key_is_refused_with_a_suggestion(
    unknown: str, nearest: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, nested(unknown, 1))
    assert f'unknown key "{unknown}"; did you mean "{nearest}"?' in message


@given(
    name=st.text(st.characters(exclude_categories=["Cs"])), section=st.sampled_from(["", "post"])
)
def test_no_unknown_key_is_accepted(
    name: str, section: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if name in (SHIPPED["post"] if section else Config.model_fields):
        return
    content = {section: {name: 1}} if section else {name: 1}
    message = refusal(tmp_path_factory.getbasetemp(), content)
    assert f'unknown key "{section and section + "."}{name}"' in message


def test_all_errors_are_listed_at_once(tmp_path: Path) -> None:
    values = {"api_port": 0, "api_url": "http://127.0.0.1:42001", "post": {"batch": 1}}
    message = refusal(tmp_path, values)
    assert "  api_port: " in message
    assert "put 42001 into api_port" in message
    assert 'unknown key "post.batch"' in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"verbose": true, "verbose": true}', '"verbose" twice'),
        ('{"ahash": {"verbose": 1, "verbose": 2}}', '"verbose" twice'),
        ('{\n  "verbose": true\n  "api_port": 1\n}', "line 3 column 3"),
        ('{"verbose": True}', "line 1 column 13"),
        ("", "line 1 column 1"),
        ('{"api_port": 1', "line 1 column 15"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_broken_json_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    assert problem in refusal(tmp_path, text)


def test_a_file_that_is_missing_or_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.json"
    with pytest.raises(ConfigError, match=r"nowhere\.json") as caught:
        load(path)
    assert "--config" in caught.value.remedy
    path.write_bytes(b'{"api_key": "\xff\xfe"}')
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)


@pytest.mark.parametrize(
    ("size_px", "fraction", "ms_ssim", "shorter_px"),
    [
        ([230, 256], 0.70, True, None),
        ([200, 256], 0.80, True, 160),
        ([256, 160], 1.0, True, 160),
        ([12, 12], 0.6, False, None),
        ([12, 12], 0.5, False, 6),
    ],
)
def test_the_scored_area_must_fit_the_measure(
    size_px: list[int], fraction: float, ms_ssim: bool, shorter_px: int | None, tmp_path: Path
) -> None:
    """MS-SSIM needs 161 pixels, SSIM 7. `shorter_px` is None if the area is large enough."""
    section = {"fixedResize": size_px, "centerFrac": fraction, "useMSSSIM": ms_ssim}
    if shorter_px is None:
        loaded(tmp_path, {"preprocessing": section})
    else:
        message = refusal(tmp_path, {"preprocessing": section})
        assert f"preprocessing: fixedResize x centerFrac leaves {shorter_px} pixels" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("frames.enabled", True),
        ("post.min_probability_to_post", 0.9),
        ("compare.descriptor", "sscd"),
    ],
)
def test_keys_of_the_calibrated_method_require_it(key: str, value: Any, tmp_path: Path) -> None:
    assert f"{key} has no effect" in refusal(tmp_path, nested(key, value))
    loaded(tmp_path, {**nested(key, value), "decision": {"method": "calibrated"}})


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("tcp://127.0.0.1:8786", True),
        ("tcp://127.8.8.8:8786", True),
        ("tcp://[::1]:8786", True),
        ("tcp://LocalHost:8786", True),
        ("tls://192.0.2.1:8786", True),
        ("tcp://192.0.2.1:8786", False),
        ("tcp://[2001:db8::1]:8786", False),
        ("tcp://scheduler:8786", False),
        ("tcp://localhost.example.org:8786", False),
        ("tcp://127.0.0.1.example.org:8786", False),
        ("tcp://127.0.0.1@example.org:8786", False),
        ("tcp://localhost#@example.org:8786", False),
    ],
)
def test_a_scheduler_elsewhere_needs_tls_or_trust(
    address: str, trusted: bool, tmp_path: Path
) -> None:
    compare = {"scheduler": address}
    if trusted:
        loaded(tmp_path, {"compare": compare})
    else:
        message = refusal(tmp_path, {"compare": compare})
        assert address in message
        assert "tls://" in message
        assert "trust_scheduler" in message
    loaded(tmp_path, {"compare": {**compare, "trust_scheduler": True}})


def test_an_sscd_model_needs_its_descriptor(tmp_path: Path) -> None:
    assert "sscd_model has no effect" in refusal(tmp_path, {"compare": {"sscd_model": "sscd.pt"}})


# What a changed key redoes

# Other values for every shipped key, by method and by what they redo.
NOTHING, COMPARISON, PREPARATION = "nothing", "comparison", "preparation"
OTHER_VALUES: dict[tuple[str, str], dict[str, Any]] = {
    ("threshold", NOTHING): {
        "api_key": "another",
        "api_url": "https://example.org",
        "api_port": 45869,
        "tags": ["system:everything"],
        "verbose": True,
        "progress": {"enabled": False, "type": "tqdm"},
        "ahash": {"io_workers": 2, "prefixBits": 8},
        "decision": {"min_probability": 0.9},
        "post": {"batch_size": 10, "max_retries": 0, "retry_pause_s": 0.5},
        "post.do_default_merge": False,
        "timeouts": {"api": 5, "thumb": 5, "post": 5},
        "network": {"max_connections": 2, "backoff_factor": 1.0},
        "compare": {"device": "cpu", "scheduler": "tcp://127.0.0.1:8786", "trust_scheduler": True},
        "index": {"path": "other.db"},
        "ssim_parallel": {"workers": 3},
    },
    ("threshold", COMPARISON): {
        "filters": {"use_ar_filter": False, "use_ahash_prefilter": False},
        "candidate_generation": {"tolSeconds": 2.0, "arTol": 0.1},
        "ahash": {"hammingMax": 16},
        "preprocessing": {"useMSSSIM": False},
        "similarity_threshold": 0.7,
    },
    ("threshold", PREPARATION): {
        "ahash": {"resize": [32, 64]},
        "preprocessing": {"fixedResize": [256, 240], "toGray": False, "preBlurSigma": 0.7},
        "preprocessing.histEq": True,
        "preprocessing.centerFrac": 0.8,
        "preprocessing.trimStrength": 0.2,
        "preprocessing.minKeepFrac": 0.5,
        "decision": {"method": "calibrated"},
    },
    ("calibrated", NOTHING): {
        "ahash": {"resize": [32, 64], "hammingMax": 16},
        "filters.use_ahash_prefilter": False,
        "preprocessing": {"fixedResize": [256, 240], "useMSSSIM": False, "centerFrac": 0.8},
        "similarity_threshold": 0.7,
    },
    ("calibrated", COMPARISON): {
        "decision": {"min_probability": 0.9},
        "candidate_generation": {"tolSeconds": 2.0},
        "frames": {"enabled": True},
    },
    ("calibrated", PREPARATION): {"decision": {"method": "threshold"}},
}
CHANGES = [
    (method, key, value, redone)
    for (method, redone), values in OTHER_VALUES.items()
    for key, value in leaves(values)
]


def test_every_shipped_key_is_changed() -> None:
    assert SHIPPED_LEAVES.keys() <= {key for method, key, _, _ in CHANGES if method == "threshold"}


@pytest.mark.parametrize(("method", "key", "value", "redone"), CHANGES)
def test_a_changed_key_redoes_what_depends_on_it(
    method: str, key: str, value: Any, redone: str, tmp_path: Path
) -> None:
    before: dict[str, Any] = {"decision": {"method": method}}
    section, _, name = key.partition(".")
    after = {**before, section: {**before.get(section, {}), name: value} if name else value}
    old = loaded(tmp_path, before)
    changes = compare_recipes(recipe_of(old), recipe_of(loaded(tmp_path, after)))
    if redone == NOTHING:
        assert changes == []
    else:
        old_value = dict(leaves(old.model_dump(mode="json", by_alias=True)))[key]
        assert changes == [RecipeChange(key, old_value, value)]
        assert all(str(part) in str(changes[0]) for part in (key, old_value, value))
    assert needs_preparation(changes) == (redone == PREPARATION)


def test_a_model_counts_by_its_content_not_its_path(tmp_path: Path) -> None:
    shipped = Path(hydindex.__file__).parent / "matching" / "calibrated" / SHIPPED_MODEL
    model = json.loads(shipped.read_text())
    (tmp_path / "same.json").write_text(json.dumps(model))
    model["weights"]["contours"] += 1.0
    (tmp_path / "other.json").write_text(json.dumps(model))

    def recipe(**decision: Any) -> dict[str, Any]:
        return recipe_of(loaded(tmp_path, {"decision": {"method": "calibrated", **decision}}))

    assert compare_recipes(recipe(), recipe(model="same.json")) == []
    (change,) = compare_recipes(recipe(), recipe(model="other.json"))
    assert change.key == "decision.model"
    assert not needs_preparation([change])


def test_changed_keys_are_told_from_equal_values(tmp_path: Path) -> None:
    recipe = json.loads(json.dumps(recipe_of(Config())))
    equal = '{"candidate_generation": {"tolSeconds": 1}, "similarity_threshold": 6e-1}'
    assert compare_recipes(recipe, recipe_of(loaded(tmp_path, equal))) == []
    two = {"preprocessing": {"histEq": True, "useMSSSIM": False}}
    changes = compare_recipes(recipe, recipe_of(loaded(tmp_path, two)))
    assert {each.key for each in changes} == {"preprocessing.histEq", "preprocessing.useMSSSIM"}
    assert needs_preparation(changes)
