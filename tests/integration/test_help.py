"""Every command explains itself: what it does, an example that works, each option with its default.

What there is to explain is read from Typer's own tree of commands.
"""

import re
import shlex
from typing import Any

import pytest
import typer.main
from typer.exceptions import TyperException
from typer.testing import CliRunner

from hydindex.commands.app import app

COLUMNS = 80
ROOT: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = {"": ROOT, **ROOT.commands}
HELP = {
    name: CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": str(COLUMNS)}).output
    for name in COMMANDS
}
# A name that Typer or click has made of a Python type says nothing to a user.
OF_PYTHON = re.compile(r"<(path|float|int|list|text|str|datetime)\b")

every_command = pytest.mark.parametrize("name", COMMANDS, ids=lambda name: name or "hydindex")


def parse(words: list[str]) -> None:
    """Read a command line as the command would, but run nothing."""
    with ROOT.make_context("hydindex", words) as context:
        rest = [*context._protected_args, *context.args]
        name, command, arguments = ROOT.resolve_command(context, rest)
        with command.make_context(name, arguments, parent=context):
            pass


@every_command
def test_the_help_has_an_example_that_can_be_typed(name: str) -> None:
    (example,) = re.findall(r"^ +Example: (.+)$", HELP[name], re.M)
    program, *words = shlex.split(example)
    assert program == "hydindex"
    assert not name or words[0] == name
    parse(words)


def test_an_example_that_cannot_be_typed_would_be_found() -> None:
    for words in (["update", "--nightly"], ["pairs", "--min-score", "2"], ["updat"]):
        with pytest.raises(TyperException):
            parse(words)


@every_command
def test_every_option_says_what_it_does_what_it_takes_and_what_it_is_unless_named(
    name: str,
) -> None:
    context = ROOT.context_class(COMMANDS[name])
    for parameter in COMMANDS[name].params:
        assert parameter.help, parameter.name
        _, shown = parameter.get_help_record(context)
        if parameter.param_type_name == "option" and not parameter.is_flag:
            assert parameter.metavar, parameter.name
            assert ("required" if parameter.required else "default: ") in shown, parameter.name


@every_command
def test_a_shell_that_completes_shows_the_whole_first_sentence(name: str) -> None:
    if name:
        assert not COMMANDS[name].get_short_help_str().endswith("...")


@every_command
def test_the_help_looks_well_on_a_narrow_terminal(name: str) -> None:
    lines = HELP[name].splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert "..." not in HELP[name].replace("[ARGS]...", "")
    assert not OF_PYTHON.search(HELP[name].partition("Options:")[2])
