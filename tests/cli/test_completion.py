"""Bash itself completes what the script tells it."""

import json
import subprocess

import pytest
import shtab
from test_cli import call

from equiprop.cli.completion import _parser
from equiprop.cli.main import COMMANDS
from equiprop.estimators import ESTIMATORS

TRY = """
source {script}
complete_by=$(complete -p equiprop | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
$complete_by equiprop "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
echo "${{COMPREPLY[*]}}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "equiprop"
    path.write_text(shtab.complete(_parser(), "bash"))
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("equiprop tr", {"train"}),
        ("equiprop ''", {*COMMANDS}),
        ("equiprop train --estimator ''", {*ESTIMATORS.members()}),
        ("equiprop train --estimator.kind holo", {"holomorphic"}),
        ("equiprop compare --homeostasis.kind resp", {"response"}),
        ("equiprop train --training.flip t", {"true"}),
        ("equiprop train --homeostasis.linear-solver.to", {"--homeostasis.linear-solver.tolerance"}),
        ("equiprop train --dataset fash", {"fashion_mnist"}),
        ("equiprop data fe", {"fetch"}),
        ("equiprop export --format sp", {"spice"}),
        ("equiprop evaluate --checkpoint b", {"best"}),
        ("equiprop study abl", {"ablation"}),
        ("equiprop study --preset q", {"quick"}),
        ("equiprop train --no-js", {"--no-json"}),
        ("equiprop diagnose /tm", {"/tmp"}),
        ("equiprop verify --epo", set()),
    ],
)
def test_bash(script, words, expected):
    ran = subprocess.run(["bash", "-c", TRY.format(script=script, words=words)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = {word for word in ran.stdout.split() if not (words.endswith("''") and word.startswith("-"))}
    assert found == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_it_is_printed(capsys, shell):
    code, out, err = call(capsys, "completion", shell)
    assert code == 0 and not err and "equiprop" in out and "kolen_pollack" in out
    assert call(capsys, "completion", shell, "--quiet") == (0, "", "")
    code, printed, _ = call(capsys, "completion", shell, "--json")
    assert code == 0 and json.loads(printed) == {"shell": shell, "script": out.removesuffix("\n")}


def test_a_shell_that_is_not_known_is_refused(capsys):
    code, out, err = call(capsys, "completion", "fish")
    assert code == 2 and not out and "invalid choice 'fish'" in err and err.count("\n") == 1
