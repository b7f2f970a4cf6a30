"""Every script of benchmarks/ and studies/ runs, at a small size: what is there to be repeated can be."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = str(ROOT / "tests" / "experiment" / "stored_run")

# Statements about the script as `m`: what is made smaller, and its main function.
SMALL = {
    "benchmarks/convergence.py": f"m.main({RUN!r}, 20)",
    "benchmarks/convolution.py": "m.main(['tiny'])",
    "benchmarks/deep_chains.py": "m.main('deep_2')",
    "benchmarks/endurance.py": """
        m.EPOCHS, m.SETTINGS = 200, [v.replace('600', '200') for v in m.SETTINGS]
        sys.argv = ['endurance', '1']
        m.main()""",
    "benchmarks/error_against_cost.py": f"""
        m.RESPONSE, m.EXACT = {{'centred': [m.ep.Centered(nudge=0.1)]}}, {{'Neumann': [m.ep.Neumann(terms=2)]}}
        sys.argv = ['error', {RUN!r}, '--samples', '4', '--out', 'error.svg']
        m.main()""",
    "benchmarks/error_bar.py": """
        m.BARS, m.SOLVES = dict([*m.BARS.items()][:1]), {}
        m.main()""",
    "benchmarks/imagenet32.py": """
        sys.argv = ['imagenet32', '.', '--images', '200', '--validation', '10']
        m.main()""",
    "benchmarks/never_worse.py": """
        m.KINDS, m.ACTIVATIONS, m.SOLVERS = {}, ['tanh'], {'default': m.ep.GaussSeidel()}
        m.main(2)""",
    "benchmarks/rounded_products.py": """
        m.PRESET, m.SIDE, m.TOLERANCES, m.NUDGES = 'tiny', 8, {10: 1e-3}, (0.2,)
        m.main()""",
    "benchmarks/runs.py": "m.main(12, 1)",
    "benchmarks/scaling.py": """
        m.AXES = {'width': [({'hidden': (n, n)}, n) for n in (8, 16)]}
        m.epochs = lambda: None
        m.main(None)""",
    "benchmarks/seeds.py": """
        m.ROUNDS, m.STEPS = 1, 2
        m.main(2)""",
    "benchmarks/small_responses.py": "m.main('deep_2')",
    "benchmarks/start.py": """
        m.COMMANDS = {'import equiprop': m.COMMANDS['import equiprop']}
        m.main(1)""",
    "benchmarks/sweeps.py": """
        m.SWEEPS, m.BATCH = 2, 4
        m.main()""",
    "benchmarks/gpu/precision.py": "m.main('tiny', 1)",
    "studies/closing_the_gap.py": f"m.tail({RUN!r}, 40)",
    "studies/gradient_bar.py": f"""
        sys.argv = ['gradient_bar', {RUN!r}, '--batches', '1', '--size', '4']
        m.main()""",
    "studies/homeostasis_noise.py": """
        m.ANGLES, m.DRAWS = (90,), 2
        m.main()""",
    "studies/layer_on_digits.py": """
        m.ESTIMATORS = dict([*m.ESTIMATORS.items()][:1])
        m.main('1', '0')""",
}
# What others import, what pytest-benchmark runs, and what needs the libraries of others.
NOT_RUN = {"networks.py", "test_speed.py"}


def test_every_script_is_here():
    there = {
        str(path.relative_to(ROOT)) for folder in ("benchmarks", "studies") for path in (ROOT / folder).rglob("*.py")
    }
    assert {path for path in there if Path(path).name not in NOT_RUN and "/others/" not in path} == set(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("script", SMALL)
def test_a_script_runs(script, tmp_path):
    path = ROOT / script
    lines = [line.strip() for line in SMALL[script].strip().splitlines()]
    program = [
        "import importlib, sys",
        f"sys.path[:0] = [{str(path.parent)!r}, {str(ROOT / 'benchmarks')!r}]",
        f"m = importlib.import_module({path.stem!r})",
        *lines,
    ]
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert any(character.isdigit() for character in ended.stdout), ended.stdout
    assert "nan" not in ended.stdout.split()
