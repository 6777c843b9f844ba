"""Completion in real shells, with the scripts that `--show-completion` prints."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What bash does when it completes the last of some words.
BASH = """
complete_words() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    _hydindex_completion hydindex
    echo "${COMPREPLY[@]}"
}
"""
CASES = [
    ("upd", ["update"]),
    ("export", ["export-posted"]),
    ("update --wait", ["--wait-for-client"]),
    ("pairs --state ''", ["known", "posted", "queued", "refused", "sending"]),
    ("report --state po", ["posted"]),
    ("schedule --scheduler sys", ["systemd"]),
]


def run(shell: str, script: str, home: Path) -> list[str]:
    """Run a script in a shell that finds hydindex; return the lines that it prints."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"there is no {shell}")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        # The shell must not read its user's settings.
        **dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "ZDOTDIR"), str(home)),
    }
    ended = subprocess.run(
        [path, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
    return ended.stdout.splitlines()


def test_bash_completes(tmp_path: Path) -> None:
    calls = "\n".join(f"complete_words hydindex {typed}" for typed, _ in CASES)
    script = f'{BASH}\neval "$(hydindex --show-completion)"\n{calls}'
    completed = [sorted(line.split()) for line in run("bash", script, tmp_path)]
    assert completed == [expected for _, expected in CASES]


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_fish_completes(typed: str, expected: list[str], tmp_path: Path) -> None:
    line = f"hydindex {typed}".removesuffix("''")
    script = f"source (hydindex --show-completion | psub)\ncomplete -C '{line}'"
    completed = [line.partition("\t")[0] for line in run("fish", script, tmp_path)]
    assert sorted(completed) == expected


def test_zsh_completes(tmp_path: Path) -> None:
    # Outside its line editor zsh completes nothing: print what would be offered.
    script = """
    compdef() {}
    _arguments() { print -r -- $@ }
    eval "$(hydindex --show-completion)"
    words=(hydindex pairs --state po)
    CURRENT=4
    _hydindex_completion
    """
    assert run("zsh", script, tmp_path) == ['*: :(("posted"))']


def test_install_completion_works_in_bash(tmp_path: Path) -> None:
    run("bash", "hydindex --install-completion; true", tmp_path)
    script = f"{BASH}\nsource ~/.bashrc\ncomplete_words hydindex upd"
    assert run("bash", script, tmp_path) == ["update"]
