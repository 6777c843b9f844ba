"""Generate the reference pages of the site from the code.

mkdocs calls `on_files` (see `hooks` in mkdocs.yml).
"""

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.resources import files as package_files
from pathlib import Path
from textwrap import indent
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from hydindex.commands.app import app
from hydindex.commands.calibrate import show_calibration
from hydindex.commands.check import show_findings
from hydindex.commands.pairs import show_pairs
from hydindex.commands.rebuild import show_plan
from hydindex.commands.repair import show_repair
from hydindex.commands.stats import show_stats
from hydindex.commands.update import show_report
from hydindex.common.errors import ExitCode, HydindexError
from hydindex.config.settings import Config, json_schema
from hydindex.demo.generated_library import generate_library
from hydindex.matching.method import METHODS
from hydindex.matching.recipe import recipe_of
from hydindex.pipeline.run_report import RunReport
from hydindex.standin.server import StandIn

Schema = Mapping[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages."""
    pages = {
        "config": config_page,
        "commands": commands_page,
        "exit-codes": exit_codes_page,
        "json": json_page,
    }
    for name, page in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(page())))
    return files


# ---- Config keys, from the JSON schema


def config_page() -> Iterator[str]:
    """Yield every key with its default, range and meaning."""
    yield """# Config keys

Every key except `api_key` has a default. A dot separates section and key: `tls.verify` is written
`{"tls": {"verify": true}}`. Wrong values and unknown or repeated keys are errors.

After you change a key marked **R**, run `hydindex rebuild`; until then, `update` refuses to run.
You can change all other keys at any time. *new*: what `hydindex init` writes, if it isn't the
default.
"""
    schema = json_schema()
    starter = json.loads(
        (package_files("hydindex.config") / "starter_config.json").read_text("utf-8")
    )
    sections = {key: each["$ref"] for key, each in schema["properties"].items() if "$ref" in each}
    alone = {key: each for key, each in schema["properties"].items() if key not in sections}
    yield from _key_table("", alone, starter)
    for section, reference in sections.items():
        model = schema["$defs"][reference.rpartition("/")[2]]
        yield f"\n## {section}\n\n{model['description']}\n"
        yield from _key_table(f"{section}.", model["properties"], starter.get(section, {}))


def _key_table(
    prefix: str, keys: Mapping[str, Schema], started: Mapping[str, Any]
) -> Iterator[str]:
    configs = [Config.model_validate({"decision": {"method": method}}) for method in METHODS]
    recipe = {key for config in configs for key in recipe_of(config)}
    yield "| key | default | values | meaning |\n|---|---|---|---|"
    for key, schema in keys.items():
        default = _code(schema["default"])
        if key in started and started[key] != schema["default"]:
            default += f"<br>new: {_code(started[key])}"
        name = f"`{prefix}{key}`" + (" **R**" if prefix + key in recipe else "")
        yield _row(name, default, _values(schema), schema["description"])


def _values(schema: Schema) -> str:
    """Return the values that a key accepts."""
    if "anyOf" in schema:  # a value or null
        return _values(next(each for each in schema["anyOf"] if each["type"] != "null"))
    if "enum" in schema:
        return " or ".join(_code(each) for each in schema["enum"])
    if "const" in schema:
        return _code(schema["const"])
    if "prefixItems" in schema:
        return "two numbers, " + _values(schema["prefixItems"][0])
    if "maximum" in schema:
        lowest = schema.get("minimum", schema.get("exclusiveMinimum"))
        above = "above " if "exclusiveMinimum" in schema else ""
        return f"{above}{lowest:,g} to {schema['maximum']:,g}"
    if "minimum" in schema:
        return f"{schema['minimum']:,g} or more"
    words = {"boolean": "`true` or `false`", "array": "a list", "string": "text"}
    return words.get(schema.get("type", ""), "")


# ---- Commands, from the Typer app


def commands_page() -> Iterator[str]:
    """Yield every command with its options."""
    yield """# Commands

Results go to stdout; progress and log lines go to stderr. `--config` or the environment variable
`HYDINDEX_CONFIG` names the config; the default is `hydrus_config.json` in the current folder. `-v`
also logs every score, the pairs that a dry run would post, and tracebacks of errors.

`hydindex --install-completion` installs completion for bash, zsh, fish or PowerShell.
"""
    for name, command in _commands().items():
        text, _, example = inspect.cleandoc(command.help or "").partition("\n\nExample: ")
        context = typer.Context(command, info_name=f"hydindex {name}")
        yield f"## {name}\n\n{text}\n\n```console\n$ {example}\n```\n"
        yield f"`{command.get_usage(context).removeprefix('Usage: ')}`\n"
        yield "| option | meaning |\n|---|---|"
        for parameter in command.params:
            if record := parameter.get_help_record(context):
                yield _row(_code_text(record[0]), record[1])
        yield ""


def _commands() -> Mapping[str, Any]:
    group: Any = typer.main.get_command(app)
    return {name: command for name, command in group.commands.items() if not command.hidden}


# ---- Exit codes and kinds of errors


def exit_codes_page() -> Iterator[str]:
    """Yield the exit codes, and the errors that end with them."""
    yield "# Exit codes\n\n| exit code | meaning |\n|---|---|"
    for code in ExitCode:
        yield _row(str(code.value), code.meaning)
    yield """
## Kinds of errors

An error message on stderr says what happened and what to do. With `--json`, an
[object](json.md#errors) is printed on stdout as well. Its `kind` is one of these:

| kind | exit code | meaning |
|---|---|---|"""
    for error in sorted(_errors(HydindexError), key=lambda each: each.exit_code):
        means = inspect.cleandoc(error.__doc__ or "")
        yield _row(f"`{error.kind}`", str(error.exit_code.value), means)


def _errors(base: type[HydindexError]) -> Iterator[type[HydindexError]]:
    for error in base.__subclasses__():
        yield error
        yield from _errors(error)


# ---- JSON: what the commands print against the stand-in client


def json_page() -> Iterator[str]:
    """Yield what each command prints with --json."""
    yield """# JSON output

With `--json`, a command prints one object on stdout, even if it fails. Every object has `command`
and `exit_code`. The examples are real output, from the stand-in client of the demo. Lists of
objects are shortened to the first one.
"""
    parts = [
        f"- `{part.name}`: {indent(inspect.getdoc(part.type) or '', ' ' * 4).strip()}\n"
        for part in fields(RunReport)
        if is_dataclass(part.type)
    ]
    explained = {
        "check": _details(show_findings),
        "update": "\n".join([_details(show_report), "", *parts]),
        "rebuild": "The same keys as `update`.",
        "rebuild --dry-run": _details(show_plan),
        "stats": _details(show_stats),
        "pairs": _details(show_pairs),
        "calibrate": _details(show_calibration),
        "repair": _details(show_repair),
    }
    printed = _printed_by_commands()
    for words, explanation in explained.items():
        yield f"## {words}\n\n{explanation}\n\n```json\n{printed[words]}\n```\n"
    yield (
        "## Errors\n\n`message` and `remedy` are for people, `kind` for programs: one of "
        f"[these](exit-codes.md#kinds-of-errors).\n\n```json\n{printed['error']}\n```"
    )


def _printed_by_commands() -> dict[str, str]:
    """Run the commands against a stand-in client; return what they print, shortened."""
    printed = {}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "hydrus_config.json"

        def configure(client: StandIn, min_probability: float) -> None:
            config.touch(mode=0o600)
            address = {"api_url": client.url, "api_port": client.port}
            decision = {"method": "calibrated", "min_probability": min_probability}
            key = {"api_key": client.SEARCH_AND_RELATIONSHIPS_KEY}
            config.write_text(json.dumps({**key, **address, "decision": decision}), "utf-8")

        def run(words: str) -> str:
            environment = {**os.environ, "HYDINDEX_CONFIG": str(config)}
            environment.pop("HYDINDEX_API_KEY", None)
            command = [sys.executable, "-m", "hydindex", *words.split(), "--json"]
            ended = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            shortened = _shortened(json.loads(ended.stdout))
            return json.dumps(shortened, indent=2).replace(folder, "/home/you/hydrus")

        with StandIn(generate_library()) as client:
            configure(client, min_probability=0.6)
            printed["update"] = run("update")
            for number, pair in enumerate(sorted(sorted(pair) for pair in client.potentials)):
                false_positive, duplicate = 1, 2  # as the Client API numbers them
                client.decide(pair[0], pair[1], duplicate if number % 6 else false_positive)
            run("update")  # records the decisions
            for words in ("check", "stats", "pairs", "calibrate", "repair"):
                printed[words] = run(words)
            configure(client, min_probability=0.9)
            printed["rebuild --dry-run"] = run("rebuild --dry-run")
            printed["error"] = run("update")
            printed["rebuild"] = run("rebuild")
    return printed


def _shortened(value: Any) -> Any:
    """Shorten lists of objects to their first one."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_shortened(value[0])]
    return value


# ---- Text


def _details(function: object) -> str:
    """Return a docstring without its first line."""
    return (inspect.getdoc(function) or "").partition("\n\n")[2]


def _row(*cells: str) -> str:
    return "| " + " | ".join(_paragraph(cell).replace("|", "\\|") for cell in cells) + " |"


def _paragraph(text: str) -> str:
    return " ".join(text.split())


def _code(value: Any) -> str:
    return "none" if value is None else _code_text(json.dumps(value))


def _code_text(text: str) -> str:
    return f"`{text}`"
