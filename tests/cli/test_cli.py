"""Every command as a user calls it: what it prints, what it exits with, and one line for every mistake."""

import csv
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from equiprop import __version__
from equiprop.cli.diagnose import _verdict
from equiprop.cli.main import COMMANDS, main
from equiprop.data import load as load_dataset
from equiprop.estimators import ESTIMATORS
from equiprop.experiment import Config, Interrupted, _legacy, _recorded, load
from equiprop.hardware.netlists._check import LIMITS
from equiprop.training import _loop
from simulator import needs_ngspice

SMALL = [
    "--training.limit", "100", "--training.epochs", "2", "--training.batch-size", "20",
    "--training.diagnostic-samples", "20", "--system.hidden", "8", "--estimator.branch-switch-threshold", "0.75",
]  # fmt: skip


def call(capsys, *arguments):
    """The exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and what the command printed."""
    out = tmp_path_factory.mktemp("cli") / "small"
    with pytest.raises(SystemExit) as stop, redirect_stdout(io.StringIO()) as printed:
        main(["train", *SMALL, "--out", str(out)])
    assert not stop.value.code
    return out, printed.getvalue()


@pytest.fixture(scope="module")
def run(trained):
    return trained[0]


def test_map(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert all(f"  {name} " in out for name in COMMANDS)
    code, out, _ = call(capsys)
    assert code == 2 and "usage" in out
    assert call(capsys, "--version")[1].startswith("equiprop ")


def test_the_command_is_a_module_too():
    told = subprocess.run([sys.executable, "-m", "equiprop", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"equiprop {__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(capsys, command):
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    assert "--json" in out and f"usage: equiprop {command}" in out


def test_train_help_documents_every_key(capsys):
    _, out, _ = call(capsys, "train", "--help")
    for section, table in Config().to_mapping().items():
        for key in table if isinstance(table, dict) else ():
            assert f"--{section}.{key.replace('_', '-')}" in out
    _, out, _ = call(capsys, "train", "--estimator", "continuous_time", "--help")
    assert "--estimator.steps-per-point" in out and "--estimator.error-bar" in out and "--estimator.retries" not in out


def test_train_prints_and_writes(trained):
    """Feedback follows where every connection has a partner: the default homeostasis, recorded as what it is."""
    run, out = trained
    assert "digits: centred equilibrium propagation with antisymmetric homeostasis, 2 epochs of 100 samples -> " in out
    assert json.loads((run / "manifest.json").read_text())["samples_per_epoch"] == 100
    assert "epoch 2/2" in out and "cosine to the exact gradient" in out and str(run) in out
    assert json.loads((run / "summary.json").read_text())["homeostasis"] == "antisymmetric"
    recorded = Config.from_file(run / "config.toml").homeostasis
    assert recorded.kind == "antisymmetric" and recorded.values["strength"] != "auto"


@pytest.mark.slow
def test_a_long_line_is_one_line(capsys, tmp_path):
    """Of several seeds, with the bar of the gradient, where nothing tells how wide the output is."""
    _, out, _ = call(
        capsys, "train", *SMALL, "--seeds", "2", "--homeostasis", "none", "--out", tmp_path / ("long" * 30)
    )
    lines = out.splitlines()
    assert len(lines[0]) > 160 and lines[0].endswith("long") and lines[1].startswith("compiling ")
    assert lines[-1].startswith("run directory: ") and lines[-1].endswith("long")
    first, *epochs = [line for line in lines if line.startswith("epoch ")]
    assert first.endswith(" %") and all(" converged " in line for line in epochs)


def test_training_says_what_it_waits_for(trained):
    """The first epoch is told before it is compiled what tells how good the gradient is, which takes longer than all else."""
    lines = trained[1].splitlines()
    assert lines[0].startswith("digits: ") and re.fullmatch(r"compiling \.\.\. \d+\.\d s", lines[1])
    assert re.fullmatch(r"epoch 1/2 .* validation error .* %", lines[2])
    assert re.fullmatch(r"compiling what tells how good the gradient is \.\.\. \d+\.\d s", lines[3])
    assert (
        lines[4].startswith("epoch 1/2 ")
        and re.search(r" cosine .*  gradient ±\d.* %", lines[4])
        and lines[5].startswith("epoch 2/2 ")
    )
    assert lines[6].startswith("test error ") and len(lines) == 8


def test_train_json_is_the_summary(capsys, run, tmp_path):
    code, out, err = call(
        capsys, "train", "--config", run / "config.toml", "--out", tmp_path / "r", "--json", "--quiet"
    )
    assert code == 0 and err == ""
    summary = json.loads(out)
    ours = json.loads((run / "summary.json").read_text())
    assert {k: v for k, v in summary.items() if k != "seconds"} == {k: v for k, v in ours.items() if k != "seconds"}


@pytest.fixture
def no_steps(monkeypatch):
    """Runs are interrupted before their first step, when everything that they begin with is written."""

    def interrupted(*_, **__):
        raise Interrupted("before the first step", None)

    monkeypatch.setattr(_recorded, "run_training", interrupted)


def test_options_override_the_file(capsys, run, tmp_path, no_steps):
    config = run / "config.toml"
    code, _, _ = call(
        capsys, "train", "--config", config, "--estimator.nudge", "0.25", "--homeostasis.kind", "none",
        "--optimizer.learning-rates", "readout", "0.5", "--out", tmp_path / "r", "--quiet",
    )  # fmt: skip
    assert code == 130
    written = tomllib.loads((tmp_path / "r" / "config.toml").read_text())
    assert written["estimator"]["nudge"] == 0.25 and written["homeostasis"]["kind"] == "none"
    assert written["optimizer"]["learning_rates"] == {"readout": 0.5}
    assert written["system"]["hidden"] == [8]


def test_default_out_is_in_runs(capsys, tmp_path, monkeypatch, no_steps):
    monkeypatch.chdir(tmp_path)
    code, _, _ = call(capsys, "train", *SMALL, "--quiet")
    (made,) = (tmp_path / "runs").iterdir()
    assert code == 130 and made.name.startswith("digits-centered-")


def test_resume_of_a_finished_run(capsys, run):
    code, out, _ = call(capsys, "train", "--resume", run, "--json", "--quiet")
    assert code == 0 and json.loads(out)["epochs"] == 2


def test_evaluate(capsys, run):
    code, out, _ = call(capsys, "evaluate", run, "--split", "validation", "--json")
    document = json.loads(out)
    assert code == 0 and document["samples"] == 180 and document["epoch"] == 2
    assert document["error_percent"] == json.loads((run / "summary.json").read_text())["validation_error_percent"]
    assert "error" in call(capsys, "evaluate", run, "--checkpoint", "best")[1]
    assert call(capsys, "evaluate", run, "--quiet")[1] == ""


@pytest.mark.slow
def test_evaluate_tells_the_error_of_each_class(capsys, run):
    code, out, _ = call(capsys, "evaluate", run, "--json")
    document = json.loads(out)
    assert code == 0 and np.sum(document["confusion"]) == 360 == sum(document["class_samples"])
    assert list(document["class_error_percent"]) == list("0123456789")
    printed = call(capsys, "evaluate", run)[1]
    assert "most often taken for" in printed and printed.count("\n") > 10
    kept = json.loads((run / "confusion.json").read_text())["test"]
    assert kept["confusion"] == document["confusion"] and kept["epoch"] == 2
    assert call(capsys, "report", run, "--out", run / "page.html", "--quiet")[0] == 0
    assert '<table class="confusion">' in (run / "page.html").read_text()


@pytest.mark.slow
def test_predict(capsys, run, tmp_path):
    images = load_dataset("digits").test.x
    np.save(tmp_path / "x.npy", images[:60])
    code, out, _ = call(capsys, "predict", run, tmp_path / "x.npy", "--json")
    rows = json.loads(out)["predictions"]
    assert code == 0 and len(rows) == 60 and set(rows[0]) == {"input", "class", "score", "converged"}
    expected = load(run).predict(images[:60])
    assert expected.label is not None
    assert [row["class"] for row in rows] == [str(label) for label in expected.label.tolist()]
    assert rows[3]["input"].endswith("x.npy:3") and rows[3]["score"] == pytest.approx(float(expected.output[3].max()))
    printed = call(capsys, "predict", run, tmp_path / "x.npy")[1]
    assert "and 10 more: --out FILE.csv writes all of them" in printed
    assert call(capsys, "predict", run, tmp_path / "x.npy", "--out", tmp_path / "p.csv")[0] == 0
    with (tmp_path / "p.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == [row["class"] for row in rows]
    assert call(capsys, "predict", run, tmp_path / "x.npy", "--out", tmp_path / "p.npz")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "p.npz")["label"], expected.label)


def test_predict_of_images_and_tables(capsys, run, tmp_path):
    image = load_dataset("digits").test.x[0]
    Image.fromarray(image).save(tmp_path / "a.png")
    np.savez(tmp_path / "b.npz", x=image[None])
    text = ",".join(f"p{i}" for i in range(64)) + ",label\n" + ",".join(map(str, image.ravel())) + ",7\n"
    (tmp_path / "c.csv").write_text(text)
    code, out, _ = call(capsys, "predict", run, *(tmp_path / name for name in ("a.png", "b.npz", "c.csv")), "--json")
    rows = json.loads(out)["predictions"]
    assert code == 0 and len({(row["class"], round(row["score"], 5)) for row in rows}) == 1
    assert [Path(row["input"]).name for row in rows] == ["a.png", "b.npz:0", "c.csv:0"]


def test_export(capsys, run, tmp_path):
    code, out, _ = call(capsys, "export", run, "--out", tmp_path / "w.npz", "--json")
    shapes = json.loads(out)["parameters"]
    assert code == 0 and shapes["weights.input->hidden_1"] == [64, 8]
    assert {name: list(a.shape) for name, a in np.load(tmp_path / "w.npz").items()} == shapes


@needs_ngspice
def test_export_as_a_circuit(capsys, run, tmp_path):
    circuit = tmp_path / "a.cir"
    code, out, _ = call(
        capsys, "export", run, "--format", "spice", "--sample", "3", "--verify", "--out", circuit, "--json"
    )
    verified = json.loads(out)["verified"]
    assert code == 0 and verified["operating_point"] < 1e-6 and verified["error_vector"] < 1e-4
    assert verified["agrees"] and verified["limits"]["error_vector"] == 1e-3 and verified["reltol"] <= 1e-6
    assert circuit.read_text().splitlines()[-2:] == [".op", ".end"]
    code, out, _ = call(capsys, "export", run, "--format", "spice", "--until", "2", "--nudge", "0.1", "--out", circuit)
    assert code == 0 and "lines, after epoch 2" in out and ".tran 0.002" in circuit.read_text()


@needs_ngspice
def test_a_circuit_that_does_not_agree_ends_with_exit_code_1(capsys, run, tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, "operating_point", 0.0)
    circuit = tmp_path / "a.cir"
    code, out, err = call(capsys, "export", run, "--format", "spice", "--verify", "--out", circuit)
    assert code == 1 and "operating point (at most 0)" in out
    assert err.startswith(f"equiprop: {circuit}: ngspice") and err.endswith("do not agree (operating point)\n")


@pytest.mark.slow
def test_train_from_a_run(capsys, run, tmp_path):
    """Fine-tuning starts from the other run's weights, with another optimizer."""
    few = [
        "--epochs",
        "1",
        "--lr",
        "1e-9",
        "--optimizer",
        "adamw",
        "--solver",
        "jacobi",
        "--homeostasis",
        "none",
        "--json",
        "--quiet",
    ]
    code, _, err = call(capsys, "train", "--from", run, *few, "--out", tmp_path / "more")
    assert code == 0, err
    ours, theirs = load(tmp_path / "more"), load(run)
    assert ours.config.training["start"] == str(run) and ours.config.optimizer.kind == "adamw"
    assert ours.config.solver.kind == "jacobi"
    for a, b in zip(jax.tree.leaves(ours.system), jax.tree.leaves(theirs.system), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    shutil.rmtree(tmp_path / "more" / "checkpoints")
    for given, said in (
        (["--system.hidden", "9"], r"training.start = .*: cannot be gone on from: .* holds an array of float32"),
        (["--resume", run], "--from: brings its own configuration"),
    ):
        code, _, err = call(capsys, "train", "--from", run, *given, "--out", tmp_path / "no")
        assert code == 2 and re.search(said, err) and not (tmp_path / "no").exists()
    code, _, err = call(capsys, "train", "--from", f"{run}#worst", "--out", tmp_path / "no")
    assert code == 2 and "checkpoint = 'worst'" in err


@pytest.mark.slow
def test_a_regression_from_a_table(capsys, tmp_path):
    """Where targets name no classes, the loss stands in the place of the error."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    rows = ["a,b,c,target", *(",".join(map(str, [*row, 0.5 + 0.2 * np.tanh(row.sum())])) for row in x)]
    (tmp_path / "d.csv").write_text("\n".join(rows) + "\n")
    few = ["--epochs", "2", "--batch-size", "10", "--hidden", "4", "--training.diagnostic-samples", "5"]
    data = ["--dataset", tmp_path / "d.csv", "--system.cost", "squared_error"]
    code, out, err = call(capsys, "train", *data, *few, "--out", tmp_path / "run")
    assert code == 0, err
    assert re.search(r"epoch 2/2 .* validation loss \d", out) and re.search(r"test loss 0\.\d{4}, cosine", out)
    assert "loss" in call(capsys, "evaluate", tmp_path / "run")[1]
    assert "test loss" in call(capsys, "runs", tmp_path)[1]
    assert re.search(r"test loss +0\.\d{3}", call(capsys, "report", tmp_path / "run")[1])
    assert "output_0" in call(capsys, "predict", tmp_path / "run", tmp_path / "d.csv")[1]
    code, _, err = call(capsys, "train", "--dataset", tmp_path / "d.csv", *few, "--out", tmp_path / "no")
    assert code == 2 and "for real numbers as targets choose the cost squared_error" in err


@pytest.mark.slow
def test_several_seeds(capsys, tmp_path):
    code, out, err = call(capsys, "train", *SMALL, "--seeds", "2", "--out", tmp_path / "two")
    assert code == 0, err
    assert "2 epochs of 100 samples, 2 seeds side by side ->" in out
    assert re.search(r"test error \d+\.\d\d ± \d+\.\d\d %", out) and re.search(r"validation error +\d+\.\d\d ± \d", out)
    assert re.search(r"test error \(%\) +\d+\.\d\d ± \d+\.\d\d", call(capsys, "report", tmp_path / "two")[1])
    code, out, err = call(capsys, "evaluate", tmp_path / "two")
    assert code == 0, err
    assert len(re.findall(r"seed-\d+: .* test, \d+ samples", out)) == 2
    assert re.search(r"2 seeds: error \d+\.\d\d ± \d+\.\d\d %", out)
    document = json.loads(call(capsys, "evaluate", tmp_path / "two", "--json")[1])
    errors = [each["error_percent"] for each in document["seeds"]]
    assert document["error_percent"] == pytest.approx(sum(errors) / 2)
    assert document["std"]["error_percent"] == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5)


@pytest.mark.slow
def test_more_epochs_than_planned(capsys, run, tmp_path):
    longer = shutil.copytree(run, tmp_path / "longer")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = call(capsys, "train", "--resume", longer, "--epochs", "4", "--json", "--quiet")
    assert code == 0 and json.loads(out)["epochs"] == 4
    assert "warning: the cosine schedule of the learning rate was to end with epoch 2, and goes on as one over 4" in err
    assert "after epoch 2 from 0 % to 50 % of its peak" in err
    manifest = json.loads((longer / "manifest.json").read_text())
    assert manifest["extended"] == [{"after_epoch": 2, "epochs": 2, "patience": 0}]
    assert tomllib.loads((longer / "config.toml").read_text())["training"]["epochs"] == 4
    code, _, err = call(capsys, "train", "--resume", longer, "--epochs", "3")
    assert code == 2 and "training.epochs = 3: 4 are behind it; give at least 4" in err


@pytest.mark.slow
def test_compare(capsys, run, tmp_path):
    code, out, _ = call(
        capsys, "compare", run, "--samples", "30", "--estimator.nudge", "0.1", "--json", "--out", tmp_path
    )
    document = json.loads(out)
    assert code == 0 and document["nudge"] == 0.1
    rows = {row["estimator"]: row for row in document["rows"]}
    assert set(rows) == set(ESTIMATORS.members())
    assert rows["adjoint"]["cosine"] == pytest.approx(1, abs=1e-3)
    clamping = ("coupled_learning", "contrastive_hebbian", "clamped_response")
    assert all("SoftmaxReadout names no output to clamp at" in rows.pop(name)["refused"] for name in clamping)
    for row in rows.values():
        assert {"cosine", "relative_error", "error_bar", "relaxation_steps", "seconds", "populations"} <= set(row)
        assert set(row["populations"]) == {"hidden_1", "output"}
        assert None not in (row["cosine"], row["relative_error"], row["error_bar"], row["seconds"])
    assert json.loads((tmp_path / "comparison.json").read_text()) == document


def test_an_epoch_that_left_samples_out_says_so():
    from equiprop.training import epoch_line

    metrics = {
        "epoch": 1,
        "epoch_seconds": 1.0,
        "train_loss": 2.0,
        "validation_error_percent": 90.0,
        "converged_fraction": 1.0,
    }
    assert epoch_line(metrics | {"excluded_fraction": 0.25}, 2).endswith("converged 100.0 %  excluded 25.0 %")
    assert epoch_line(metrics | {"excluded_fraction": 0.0}, 2).endswith("converged 100.0 %")
    causes = {"nudge": 0.029, "relaxation": None, "rounding": 0.012, "noise": 0.0, "asymmetry": 0.0, "exclusion": 0.0}
    told = metrics | {"gradient_bar": 0.0316, "gradient_bar_causes": causes}
    assert "  gradient ±3.2 % (nudge 2.9, rounding 1.2)  converged" in epoch_line(told, 2)
    far = told | {"gradient_bar": 1.24, "gradient_bar_causes": causes | {"asymmetry": 1.236}}
    assert "  gradient ±124 % (asymmetry 124)  converged" in epoch_line(far, 2)
    assert "gradient ±" not in epoch_line(told | {"gradient_bar": None}, 2)


@pytest.mark.slow
def test_compare_of_a_fresh_network_prints_a_table(capsys):
    only = ("--estimators", "centered", "holomorphic", "continuous_time", "--estimator.clip", "0.1")
    code, out, _ = call(capsys, "compare", *SMALL, "--system.activation", "relu", "--samples", "20", *only)
    assert "clipped: to 0.1 times the norm of the cost gradient, which the exact gradient here is not" in out
    assert code == 0 and "a fresh system on digits" in out and "centered" in out
    assert all(f"{name}: not available" in out for name in ("holomorphic", "continuous_time"))
    assert "adjoint" not in out
    code, _, err = call(capsys, "compare", *SMALL, "--estimators", "centred")
    assert code == 2 and "did you mean 'centered'" in err


def test_options_beside_a_run_stand_on_its_configuration(run):
    """Nested ones too, and those that ask for a default where the run has something else; what is not given stays the run's."""
    from equiprop.cli._network import parse_network
    from equiprop.cli.bench import Options

    changeable = ("estimator", "solver", "homeostasis")
    _, own = parse_network(Options, "bench", [str(run)], "", changeable)
    assert (
        own.training["limit"] == 100
        and own.system.values["hidden"] == (8,)
        and own.estimator.values["branch_switch_threshold"] == 0.75
    )
    given = [
        "--reference.linear-solver.restart",
        "7",
        "--solver.tolerance",
        "1e-3",
        "--estimator.branch-switch-threshold",
        "0.5",
    ]
    _, changed = parse_network(Options, "bench", [str(run), *given], "", (*changeable, "reference"))
    assert changed.reference.values["linear_solver"]["restart"] == 7 and changed.solver.values["tolerance"] == 1e-3
    assert changed.estimator.values["branch_switch_threshold"] == 0.5
    assert changed.system == own.system and changed.training == own.training


@pytest.mark.slow
def test_bench(capsys, run, tmp_path):
    few = ("--rounds", "1", "--what", "parts", "--homeostasis.samples", "2")
    code, out, _ = call(capsys, "bench", run, *few, "--json", "--out", tmp_path)
    document = json.loads(out)
    assert code == 0 and document["run"] == str(run)
    assert [row["name"].split(",")[0] for row in document["rows"]] == [
        "free phase",
        "estimate at equilibrium",
        "homeostasis",
    ]
    assert all(row["milliseconds"] > 0 and row["times_feedforward"] is None for row in document["rows"])
    assert json.loads((tmp_path / "bench.json").read_text()) == document


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--what", "step"], "did you mean 'steps'"),
        (["--rounds", "0"], "--rounds = 0: must be at least 1"),
        (["--steps", "0"], "--steps = 0: must be at least 1"),
    ],
)
def test_bad_bench(capsys, arguments, words):
    code, _, err = call(capsys, "bench", *SMALL, *arguments)
    assert code == 2 and words in err


@pytest.mark.slow
def test_diagnose(capsys, run):
    code, out, _ = call(capsys, "diagnose", run, "--samples", "30", "--json")
    found = json.loads(out)
    assert code == 0 and found["samples"] == 30
    fractions = [found[f"{name}_fraction"] for name in ("converged", "oscillating", "max_steps", "diverged")]
    assert sum(fractions) == pytest.approx(1)
    assert 0.4 < found["symmetry"] <= 1 and found["residual_largest"] < 1e-3
    assert set(found["cosine_to_adjoint"]) == {"hidden_1", "output", "total"}
    assert (found["certificate_angle_deg"] is None) == (found["certificate_reason"] is not None)
    assert 0 <= found["certified_fraction"] <= 1 and -1 < found["spectral_abscissa_median"] < 0
    assert 0 < found["contraction_median"] <= found["contraction_largest"]
    assert set(found["bias"]) == {"finite_nudge", "asymmetry", "total"} and found["bias"]["total"] > 0
    assert sum(found["analyticity"].values()) == pytest.approx(1)
    assert set(found["cosine_spread"]) == set(found["weighted_cosine"]) == {"hidden_1", "output"}
    assert found["epoch"] == 2 and call(capsys, "diagnose", run, "--system.gain", "2")[0] == 2
    cosine, off = found["cosine_to_adjoint"], found["relative_error"]["total"]
    assert _verdict(found) == (
        f"their summed gradient points downhill: its cosine to the exact one is {cosine['total']:.3f}, and it is off by "
        f"{100 * off:.2g} % of that"
    )
    assert "not point downhill: " in str(_verdict({**found, "cosine_to_adjoint": {**cosine, "total": -0.1}}))
    assert _verdict({**found, "cosine_to_adjoint": {**cosine, "total": None}}) is None
    _, out, _ = call(capsys, "diagnose", *SMALL, "--samples", "30")
    assert re.match(
        r"a fresh system on digits, on 30 validation samples\n *their summed gradient (points|does not)", out
    )
    for words in ("converged", "advice", "angle between the weights", "certificate", "spectral abscissa", "asymmetry"):
        assert words in out


def test_runs(capsys, run):
    code, out, _ = call(capsys, "runs", run.parent, "--json")
    (row,) = json.loads(out)["runs"]
    assert code == 0 and row["state"] == "finished" and row["path"] == str(run)
    assert "small" in call(capsys, "runs", run.parent)[1]
    assert json.loads(call(capsys, "runs", run.parent, "--where", "estimator.kind=adjoint", "--json")[1]) == {
        "runs": []
    }
    assert (
        len(json.loads(call(capsys, "runs", run.parent, "--where", "estimator.kind=centered", "--json")[1])["runs"])
        == 1
    )


def test_runs_where_is_written_as_in_the_configuration(capsys, run, tmp_path):
    def found(*conditions):
        where = [word for condition in conditions for word in ("--where", condition)]
        return len(json.loads(call(capsys, "runs", run.parent, *where, "--json")[1])["runs"])

    assert found("homeostasis.feedback_only=true") == 1 and found("homeostasis.feedback_only=false") == 0
    assert (
        found("estimator.branch_switch_threshold=7.5e-1") == 1 and found("estimator.branch_switch_threshold=0.5") == 0
    )
    assert found("estimator.kind='centered'") == 1 and found("estimator.branch_switch_threshold=half") == 0
    code, _, err = call(capsys, "runs", run.parent, "--where", "estimatr.kind=centered")
    assert code == 2 and "there is no column 'estimatr.kind'; did you mean 'estimator.kind'?" in err
    (tmp_path / "broken").mkdir()
    for name, text in (("config.toml", "dataset = "), ("manifest.json", "{}")):
        (tmp_path / "broken" / name).write_text(text)
    assert "broken: " in call(capsys, "runs", tmp_path)[1]
    (row,) = json.loads(call(capsys, "runs", tmp_path, "--json")[1])["runs"]
    assert row["warnings"]


@pytest.mark.slow
def test_report(capsys, run, tmp_path):
    code, out, _ = call(capsys, "report", run, "--json")
    page = run / "report.html"
    assert code == 0 and json.loads(out)["report"] == str(page)
    assert page.read_text().startswith("<!DOCTYPE html>") and "small" in page.read_text()
    assert not list(run.glob("*.svg"))
    (tmp_path / "blocked" / "training.svg").mkdir(parents=True)
    code, _, err = call(capsys, "report", run, "--figures", "--out", tmp_path / "blocked")
    assert code == 2 and "training.svg" in err and err.count("\n") == 1


@pytest.mark.slow
def test_report_with_its_figures_beside_it(capsys, run, tmp_path):
    code, out, _ = call(capsys, "report", run, "--figures", "--out", tmp_path / "page")
    assert code == 0 and f"report: {tmp_path / 'page' / 'report.html'}" in out and "test error" in out
    figures = {f.stem for f in (tmp_path / "page").glob("*.svg")}
    assert {"training", "gradient", "cosine"} <= figures and f"figure: {tmp_path / 'page' / 'cosine.svg'}" in out
    assert (tmp_path / "page" / "cosine.svg").read_text().startswith("<?xml")


def test_data(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIPROP_DATA_DIR", str(tmp_path))
    code, out, _ = call(capsys, "data", "list", "--json")
    states = {d["name"]: d["state"] for d in json.loads(out)["datasets"]}
    elsewhere = ("mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet32")
    assert code == 0 and states == {"digits": "built in"} | dict.fromkeys(elsewhere, "not here")
    code, _, err = call(capsys, "data", "verify", "mnist", "--quiet")
    assert code == 2 and "data fetch mnist" in err
    assert call(capsys, "data", "verify", "--quiet")[0] == 0
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"short")
    code, _, err = call(capsys, "data", "verify", "--quiet")
    assert code == 2 and "train-images-idx3-ubyte.gz is corrupt" in err


MISTAKES = [
    (["--verison"], "command = '--verison': is not known.*did you mean '--version'"),
    (["trian"], "command = 'trian': is not known.*did you mean 'train'"),
    (["train", "--dataset", "minst"], "dataset = 'minst': is not known.*did you mean 'mnist'"),
    (["train", "--estimator.knd", "adjoint"], "there is no option --estimator.knd; did you mean '--estimator.kind'"),
    (["train", "--estimatr.kind", "adjoint"], "there is no option --estimatr.kind; did you mean '--estimator.kind'"),
    (["train", "--nudg", "0.1"], "there is no option --nudg; did you mean '--nudge'"),
    (
        ["train", "--training.momentum", "0.5"],
        "there is no option --training.momentum; did you mean '--optimizer.momentum'",
    ),
    (["train", "--estimator.kind", "adjiont"], "estimator.kind = 'adjiont': is not known.*did you mean 'adjoint'"),
    (["train", "--estimator.nudge", "much"], "estimator.nudge = 'much': must be a number"),
    (["train", "--estimator.nudge", "0"], "estimator.nudge = 0.0: must be a finite number other than 0"),
    (
        ["train", "--estimator.kind", "holomorphic", "--estimator.points", "0"],
        "estimator.points = 0: must be at least 1, or 'auto'",
    ),
    (
        ["train", "--estimator.kind", "holomorphic", "--system.activation", "relu"],
        "not holomorphic.*allow_non_holomorphic = true",
    ),
    (["train", "--system.activation", "sgmoid"], "system.activation = 'sgmoid': is not known"),
    (["train", "--config", "missing.toml"], "missing.toml: cannot be read"),
    (["train", "--config", "."], r"\.: is a folder; give a file"),
    (["sweep", "."], r"\.: is a folder; give a file"),
    (
        ["train", "--system.kind", "network", "--system.topology", "/dev/zero"],
        "^equiprop: system: topology /dev/zero: is a device or a pipe; give a file",
    ),
    (["train", "--dataset", "a\nb\x1b[31m"], r"dataset = 'a\\nb\\x1b\[31m': is not known"),
    (["train", "--seed", "9" * 400], "training.seed = inf: must be a whole number"),
    (
        ["train", "--epochs", str(2**31)],
        "training.epochs = 2147483648: makes too many steps to be counted; give at most",
    ),
    (["train", "--homeostasis.shared-updates", "yes"], "homeostasis.shared_updates = 'yes': must be true or false"),
    (["train", "--estimator.retries", "3"], "estimator.retries = 3: has no effect without tolerance"),
    (
        ["train", "--batch-size", "99999"],
        "training.batch_size = 99999: there are only .* training samples; give at most",
    ),
    (["report", "[/x]"], r"run = '\[/x\]': does not exist"),
    (["[/x]"], r"command = '\[/x\]': is not known"),
    (["train", "--resume", "nowhere"], "run nowhere: is not a run directory"),
    (["evaluate", "nowhere"], "run nowhere: is not a run directory"),
    (["evaluate"], "evaluate: "),
    (["diagnose", "nowhere"], "run nowhere: is not a run directory"),
    (["compare", "nowhere"], "run nowhere: is not a run directory"),
    (["compare", "--checkpoint", "best"], "--checkpoint = 'best': a fresh system has none; give RUN"),
    (["compare", "--out", "/dev/null/x"], "--out /dev/null/x: /dev/null is not a folder that can be written to"),
    (["train", "--config", "a.toml", "--config=b.toml"], "--config: is given 2 times, a.toml, b.toml; give one file"),
    (["train", "--out", "x" * 300], "x: cannot be written"),
    (["report", "y" * 300], "y: File name too long"),
    (["compare", "--samples", "0"], "--samples = 0: must be at least 1"),
    (["study", "nudge", "--seed", "3"], "study: there is no option --seed; did you mean '--seeds'"),
    (["evaluate", "nowhere", "--foo"], "evaluate: there is no option --foo$"),
    (["bench", "--rounds", "1.5"], "bench: --rounds = '1.5': must be a whole number$"),
    (["sweep", "x.toml", "--trials", "x"], "sweep: --trials = 'x': must be a whole number$"),
    (["report"], "name at least one run or study"),
    (["report", "nowhere"], "nowhere"),
    (["runs", "nowhere"], "folder = 'nowhere': is not a folder"),
    (["runs", ".", "--where", "x"], "--where = 'x': there is no column 'x'"),
    (["runs", ".", "--sort", "size"], "--sort = 'size': there is no column 'size'"),
    (["data", "fech"], "action = 'fech': is not known.*did you mean 'fetch'"),
    (["data", "fetch"], "name the datasets to fetch"),
    (["data", "fetch", "minst"], "dataset = 'minst': is not known"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_mistakes(capsys, tmp_path, monkeypatch, arguments, message):
    """Exit code 2, one line on standard error, nothing on standard output, nothing written."""
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("equiprop: ") and err.count("\n") == 1
    assert re.search(message, err), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_mistakes_with_a_run(capsys, run):
    for arguments, message in [
        (["evaluate", run, "--split", "dev"], "dev"),
        (["evaluate", run, "--checkpoint", "first"], "checkpoint = 'first'"),
        (["train", *SMALL, "--out", run], "exists already"),
        (["train", "--resume", run, "--out", "x"], "--resume: goes on in its own folder"),
        (["compare", run, "--system.gain", "2"], "--system.gain: a run brings its own configuration"),
        # The default, but not what the run has.
        (["train", "--resume", run, "--training.batch-size", "50"], "leave out --training.batch-size"),
        (["predict", run], "there are no files"),
        (["predict", run, "nowhere.png"], "nowhere.png is not a file"),
        (["predict", run, run / "summary.json"], "has no ending that is known"),
        (["predict", run, "x.npy", "--out", "p.txt"], "--out p.txt: has no ending that is known; choose .csv or .npz"),
        (["export", run, "--out", "w.pt"], "path = 'w.pt': has no ending that is known"),
        (["export", run, "--sample", "3"], "sample = 3: is of circuits; give --format spice, too"),
        (["export", run, "--format", "spice", "--sample", "-1"], "samples, the first of which is 0"),
        (["compare", run, "--training.batch-size", "50"], "--training.batch-size: a run brings its own configuration"),
        (["compare", run, "--lr", "0.1"], "--lr or --optimizer.learning-rate: a run brings its own configuration"),
    ]:
        code, _, err = call(capsys, *arguments)
        assert code == 2 and message in err and err.count("\n") == 1


def test_missing_data_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIPROP_DATA_DIR", str(tmp_path / "none"))
    code, _, err = call(capsys, "train", "--dataset", "fashion_mnist", "--out", tmp_path / "r")
    assert code == 2 and "EQUIPROP_DATA_DIR" in err and err.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_interrupt_exits_130(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(_loop, "_loss", lambda totals: signal.raise_signal(signal.SIGINT) or 0.0)
    code, _, err = call(capsys, "train", *SMALL, "--out", tmp_path / "r", "--quiet")
    assert code == 130 and "checkpoint" in err and "--resume" in err
    monkeypatch.undo()
    assert call(capsys, "train", "--resume", tmp_path / "r", "--quiet")[0] == 0
    assert (tmp_path / "r" / "summary.json").exists()


def test_failure_exits_1(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(_loop, "all_finite", lambda system: False)
    code, _, err = call(capsys, "train", *SMALL, "--out", tmp_path / "r")
    assert code == 1 and "no longer finite" in err


def test_help_is_quick_because_it_does_not_import_jax():
    code = "import sys; from equiprop.cli.main import _run; _run(['--help']); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
def test_console_script():
    script = Path(sys.executable).parent / "equiprop"
    answer = subprocess.run([script, "train", "--dataset", "x"], check=False, capture_output=True, text=True)
    assert answer.returncode == 2 and answer.stderr.startswith("equiprop: dataset = 'x'")


def test_another_kind_than_the_files_leaves_its_settings_behind(capsys, tmp_path, no_steps):
    (tmp_path / "c.toml").write_text('[estimator]\nkind = "holomorphic"\npoints = 8\nclip = 3.0\n')
    options = ("--config", tmp_path / "c.toml", "--estimator.kind", "adjoint", "--homeostasis.kind", "none")
    code, _, _ = call(capsys, "train", *options, "--system.hidden", "8", "--out", tmp_path / "r", "--quiet")
    written = tomllib.loads((tmp_path / "r" / "config.toml").read_text())["estimator"]
    assert code == 130 and written["kind"] == "adjoint" and "points" not in written and written["clip"] == 3.0
    code, _, err = call(capsys, "train", *options, "--estimator.points", "4", "--out", tmp_path / "s")
    assert (
        code == 2
        and "estimator.points: is not used by estimator.kind = 'adjoint'" in err
        and "choose" in err
        and "holomorphic" in err
    )


def test_no_option_or_a_device_alone_is_enough(tmp_path):
    from equiprop.cli.train import _parse

    assert _parse([])[1:] == ({}, {})
    (tmp_path / "device.toml").write_text('kind = "device"\nmismatch.gain = 0.1\n')
    _, given, _ = _parse(["--hardware", str(tmp_path / "device.toml")])
    assert given == {"hardware.kind": "device", "hardware.mismatch.gain": 0.1}


def test_options_of_version_01_are_read_and_their_new_names_said(capsys, tmp_path, no_steps, monkeypatch):
    monkeypatch.setattr(_legacy, "_told", set())
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, err = call(
            capsys, "train", "--estimator.max-gain", "2", "--solver.kind", "alternating", "--solver.coarse=bfloat16",
            "--out", tmp_path / "r", "--quiet",
        )  # fmt: skip
    assert code == 130
    for words in (
        "equiprop: warning: estimator.max_gain is now called estimator.clip",
        "equiprop: warning: solver.kind = 'alternating' is now called 'gauss_seidel'",
        "equiprop: warning: solver.coarse is now called solver.low_precision_start",
    ):
        assert err.count(words) == 1
    written = tomllib.loads((tmp_path / "r" / "config.toml").read_text())
    assert written["estimator"]["clip"] == 2.0 and written["solver"]["low_precision_start"] == "bfloat16"


def test_verify_names_what_is_damaged(run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    code, out, _ = call(capsys, "verify", copy, "--json")
    (findings,) = json.loads(out)["runs"].values()
    assert code == 0 and {finding["fault"] for finding in findings} == {""}
    (copy / "manifest.json").write_text("{")
    code, out, err = call(capsys, "verify", copy)
    assert code == 1 and "manifest.json" in out and "is not valid JSON" in out and err.count("\n") == 1
    assert f"{copy}/manifest.json is damaged" in err
    assert call(capsys, "verify")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(("word", "value"), [("true", True), ("True", True), ("FALSE", False)])
def test_truth_is_written_as_in_a_file_in_small_letters_or_capital_ones(capsys, tmp_path, no_steps, word, value):
    options = ("--homeostasis", "jacobian", "--homeostasis.shared-updates", word, "--training.flip", word)
    code, _, _ = call(capsys, "train", *SMALL, *options, "--out", tmp_path / "r", "--quiet")
    written = tomllib.loads((tmp_path / "r" / "config.toml").read_text())
    assert code == 130 and written["homeostasis"]["shared_updates"] is value and written["training"]["flip"] is value


@pytest.mark.slow
def test_a_training_ends_well_in_any_encoding_and_folder(tmp_path, monkeypatch):
    """Of two seeds there is a ± in every line; a folder may have a name that would be markup."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    out = tmp_path / "o[/x]"
    with pytest.raises(SystemExit) as stop:
        main(["train", *SMALL, "--seeds", "2", "--homeostasis", "none", "--out", str(out)])
    said = written.getvalue().decode("ascii")
    assert not stop.value.code and f"-> {out}\n" in said and said.endswith(f"run directory: {out}\n") and " ? " in said


def test_what_takes_too_much_memory_is_said_in_one_line(capsys, monkeypatch):
    def exhausted(arguments):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 399999999996 bytes.")

    monkeypatch.setattr("equiprop.cli.data.run", exhausted)
    code, _, err = call(capsys, "data", "list")
    assert (
        code == 1
        and err.startswith("equiprop: there is not enough memory: take smaller batches")
        and err.count("\n") == 1
    )
