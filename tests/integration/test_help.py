"""Every command's help says what it does, gives an example, and explains each option.

The commands and options are read from Typer's own tree.
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
# Names of Python types mean nothing to a user.
PYTHON_TYPE = re.compile(r"<(path|float|int|list|text|str|datetime)\b")

every_command = pytest.mark.parametrize("name", COMMANDS, ids=lambda name: name or "hydindex")


def parse(words: list[str]) -> None:
    """Parse a command line as the command would; run nothing."""
    with ROOT.make_context("hydindex", words) as context:
        rest = [*context._protected_args, *context.args]
        name, command, arguments = ROOT.resolve_command(context, rest)
        with command.make_context(name, arguments, parent=context):
            pass


@every_command
def test_the_example_parses(name: str) -> None:
    (example,) = re.findall(r"^ +Example: (.+)$", HELP[name], re.M)
    program, *words = shlex.split(example)
    assert program == "hydindex"
    assert not name or words[0] == name
    parse(words)


@pytest.mark.parametrize("words", [["update", "--nightly"], ["pairs", "--min-score", "2"], ["upd"]])
def test_a_wrong_example_does_not_parse(words: list[str]) -> None:
    with pytest.raises(TyperException):
        parse(words)


@every_command
def test_every_option_has_help_a_metavar_and_a_default(name: str) -> None:
    context = ROOT.context_class(COMMANDS[name])
    for parameter in COMMANDS[name].params:
        assert parameter.help, parameter.name
        _, shown = parameter.get_help_record(context)
        if parameter.param_type_name == "option" and not parameter.is_flag:
            assert parameter.metavar, parameter.name
            assert ("required" if parameter.required else "default: ") in shown, parameter.name


@every_command
def test_the_help_fits_a_narrow_terminal_unabridged(name: str) -> None:
    assert max(map(len, HELP[name].splitlines())) <= COLUMNS
    assert "..." not in HELP[name].replace("[ARGS]...", "")
    assert not PYTHON_TYPE.search(HELP[name].partition("Options:")[2])
    if name:  # shells show it while they complete
        assert not COMMANDS[name].get_short_help_str().endswith("...")
