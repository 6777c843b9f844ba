"""Writes the reference pages of the site out of the code, whenever mkdocs builds it.

mkdocs calls `on_files` (see `hooks` in mkdocs.yml). The pages are never saved in docs/.
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
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from hydindex.commands import output, output_setup
from hydindex.commands.app import app
from hydindex.common.errors import ExitCode, HydindexError
from hydindex.config.sections import Decision
from hydindex.config.settings import Config, json_schema
from hydindex.demo.generated_library import generate_library
from hydindex.matching.recipe import recipe_of
from hydindex.pipeline.run_report import Report
from hydindex.standin.server import StandIn

Schema = Mapping[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference to the pages that lie in docs/."""
    pages = {
        "config": config_page,
        "commands": commands_page,
        "exit-codes": exit_codes_page,
        "json": json_page,
    }
    for name, page in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(page())))
    return files


# ---- Config keys, out of the JSON schema that editors are given


def config_page() -> Iterator[str]:
    """Tell every key with its default, its range and its meaning."""
    yield """# Config keys

`hydrus_config.json` is checked as a whole: a wrong value, an unknown or repeated key is named, and
nothing is done. Every key has a default but `api_key`. A dot stands for a section: `tls.verify` is
written `{"tls": {"verify": true}}`.

A change of a key marked **R** needs `hydindex rebuild`; until then `update` does nothing and says
so. All others may change at any time. `hydindex init` writes some keys with another value than
their default: *new* tells it.
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
    # Each way to decide has keys of its own.
    recipe = recipe_of(Config()) | recipe_of(Config(decision=Decision(method="calibrated")))
    yield "| key | default | values | meaning |\n|---|---|---|---|"
    for key, schema in keys.items():
        default = _code(schema["default"])
        if key in started and started[key] != schema["default"]:
            default += f"<br>new: {_code(started[key])}"
        name = f"`{prefix}{key}`" + (" **R**" if prefix + key in recipe else "")
        yield _row(name, default, _values(schema), schema["description"])


def _values(schema: Schema) -> str:
    """Say which values a key may have."""
    if "anyOf" in schema:  # a value, or null for none
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


# ---- Commands, out of the Typer app


def commands_page() -> Iterator[str]:
    """Tell every command with its options, as --help does."""
    yield """# Commands

Results go to stdout, progress and log lines to stderr. Every command explains itself with `--help`.
`--config`, or the environment variable `HYDINDEX_CONFIG`, names the config; without either it is
`hydrus_config.json` in the present folder. `-v` logs the score of every pair that is not ruled out
early, in a dry run also every pair that would be posted, and shows tracebacks of errors.

`hydindex --install-completion`, in bash, zsh, fish or PowerShell, lets Tab complete commands,
options and what they take; it tells which file it changes.
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
    """Tell what each exit code means, and which errors end with it."""
    yield "# Exit codes\n\n| exit code | means |\n|---|---|"
    for code in ExitCode:
        yield _row(str(code.value), code.means)
    yield """
## Kinds of errors

An error says on stderr what happened and what to do. With `--json` it is printed as an object, too;
see [JSON output](json.md#errors). Its `kind` is one of these:

| kind | exit code | means |
|---|---|---|"""
    for error in sorted(_errors(HydindexError), key=lambda each: each.exit_code):
        means = inspect.cleandoc(error.__doc__ or "")
        yield _row(f"`{error.kind}`", str(error.exit_code.value), means)


def _errors(base: type[HydindexError]) -> Iterator[type[HydindexError]]:
    for error in base.__subclasses__():
        yield error
        yield from _errors(error)


# ---- JSON: what the commands print against the stand-in client, and what the code says of it


def json_page() -> Iterator[str]:
    """Show what each command prints with --json."""
    yield """# JSON output

`--json` prints one object on stdout, whatever becomes of the command; `command` and `exit_code` are
in all of them. What is shown here was printed when these pages were built, by the commands
themselves, against the stand-in client of the demo; its pairs had been decided. Of lists of objects
only the first one is shown.
"""
    parts = [
        f"- `{part.name}`: {_paragraph(inspect.getdoc(part.type) or '')}"
        for part in fields(Report)
        if is_dataclass(part.type)
    ]
    explained = {
        "check": _details(output_setup.show_check),
        "update": "\n".join(parts),
        "rebuild": "The same keys as of `update`.",
        "rebuild --dry-run": _details(output.show_plan),
        "stats": _details(output.show_stats),
        "pairs": _details(output.show_pairs),
        "calibrate": _details(output.show_calibration),
        "repair": _details(output.show_repair),
    }
    printed = _printed_by_commands()
    for words, explanation in explained.items():
        yield f"## {words}\n\n{explanation}\n\n```json\n{printed[words]}\n```\n"
    yield (
        "## Errors\n\nWhat happened and what to do, for people; `kind` is for programs, and one of "
        f"[these](exit-codes.md#kinds-of-errors).\n\n```json\n{printed['error']}\n```"
    )


def _printed_by_commands() -> dict[str, str]:
    """Run the commands against a stand-in client; give what they print, shortened."""
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
            run("update")  # notes the decisions
            for words in ("check", "stats", "pairs", "calibrate", "repair"):
                printed[words] = run(words)
            configure(client, min_probability=0.9)
            printed["rebuild --dry-run"] = run("rebuild --dry-run")
            printed["error"] = run("update")
            printed["rebuild"] = run("rebuild")
    return printed


def _shortened(value: Any) -> Any:
    """Cut lists of objects to their first one."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_shortened(value[0])]
    return value


# ---- Words


def _details(function: object) -> str:
    """Give what a docstring says below its first line."""
    return (inspect.getdoc(function) or "").partition("\n\n")[2]


def _row(*cells: str) -> str:
    return "| " + " | ".join(_paragraph(cell).replace("|", "\\|") for cell in cells) + " |"


def _paragraph(text: str) -> str:
    return " ".join(text.split())


def _code(value: Any) -> str:
    return "none" if value is None else _code_text(json.dumps(value))


def _code_text(text: str) -> str:
    return f"`{text}`"
