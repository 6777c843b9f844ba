"""Completion of what is typed, in real shells: what `--show-completion` prints makes it work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# As a shell that completes does it: the words so far, of which the last is to be completed.
BASH = """
complete_words() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _hydindex_completion hydindex
    printf '%s\\n' "${COMPREPLY[@]}"
}
"""
CASES = [
    (["upd"], ["update"]),
    (["export"], ["export-posted"]),
    (["update", "--wait"], ["--wait-for-client"]),
    (["pairs", "--state", ""], ["known", "posted", "queued", "refused", "sending"]),
    (["report", "--state", "po"], ["posted"]),
    (["schedule", "--scheduler", "sys"], ["systemd"]),
]


def run(shell: str, script: str, home: Path) -> list[str]:
    """Run a script in a shell that finds hydindex; give the lines that it prints."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"there is no {shell}")
    own = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{own}:{os.environ['PATH']}",
        # Nothing that somebody has told their own shell.
        **dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "ZDOTDIR"), str(home)),
    }
    ended = subprocess.run(
        [path, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
    return ended.stdout.splitlines()


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_bash_completes(words: list[str], expected: list[str], tmp_path: Path) -> None:
    typed = " ".join(f"'{word}'" for word in words)
    script = f'{BASH}\neval "$(hydindex --show-completion)"\ncomplete_words hydindex {typed}'
    assert sorted(run("bash", script, tmp_path)) == expected


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_fish_completes(words: list[str], expected: list[str], tmp_path: Path) -> None:
    typed = " ".join(["hydindex", *words])
    script = f"source (hydindex --show-completion | psub)\ncomplete -C '{typed}'"
    completed = [line.partition("\t")[0] for line in run("fish", script, tmp_path)]
    assert sorted(completed) == expected


def test_zsh_completes(tmp_path: Path) -> None:
    # Outside of the line editor there is nothing to complete in: the function says what it found.
    script = """
    compdef() {}
    _arguments() { print -r -- $@ }
    eval "$(hydindex --show-completion)"
    words=(hydindex pairs --state po)
    CURRENT=4
    _hydindex_completion
    """
    assert run("zsh", script, tmp_path) == ['*: :(("posted"))']


def test_what_bash_installs_is_what_it_shows(tmp_path: Path) -> None:
    run("bash", "hydindex --install-completion; true", tmp_path)
    script = f"{BASH}\nsource ~/.bashrc\ncomplete_words hydindex upd"
    assert run("bash", script, tmp_path) == ["update"]
