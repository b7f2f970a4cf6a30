"""Homeostasis at work: a network whose feedback is not the transpose, with and without it.

marimo edit notebooks/homeostasis.py
"""

import marimo

app = marimo.App(app_title="Homeostasis at work")


@app.cell
def _():
    import jax
    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np

    import equiprop as ep

    return ep, jax, mo, np, plt


@app.cell
def _(mo):
    mo.md("""
    # Homeostasis at work

    A network of 64, 32, 32 and 10 units on scikit-learn's digits. Feedback weights start at a right angle to the
    forward ones, so that
    what the network answers to a nudge is not the exact gradient. A homeostasis moves the feedback weights until it is.
    """)
    return


@app.cell
def _(mo):
    strength = mo.ui.slider(steps=[0.0, 1.0, 10.0, 100.0], value=100.0, label="strength", show_value=True)
    angle = mo.ui.slider(0, 90, 15, value=90, label="angle of the weights at the start, °", show_value=True)
    mo.hstack([strength, angle], justify="start")
    return angle, strength


@app.cell
def _(angle, ep, jax, strength):
    data = ep.data.load("digits")
    system = ep.mlp(64, (32, 32), 10, feedback_gain=0.1, weight_angle=float(angle.value), key=jax.random.key(0))

    def trained(homeostasis):
        return ep.fit(
            system,
            data,
            estimator=ep.Centered(0.05),
            homeostasis=homeostasis,
            optimizer=ep.SGD(0.05),
            batch_size=20,
            epochs=25,
            diagnostic_samples=100,
            quiet=True,
        )

    treated = ep.AntisymmetricHomeostasis(strength.value) if strength.value else ep.NoHomeostasis()
    results = {"homeostasis": trained(treated), "none": trained(ep.NoHomeostasis())}
    return data, results, system


@app.cell
def _(ep, results):
    angles = {name: max(ep.weight_angle(result.system).values()) for name, result in results.items()}
    cosines = {name: result.history[-1]["cosine_to_adjoint"]["total"] for name, result in results.items()}
    errors = {name: result.history[-1]["validation_error_percent"] for name, result in results.items()}
    bars = {name: result.history[-1]["gradient_bar"] for name, result in results.items()}
    return angles, bars, cosines, errors


@app.cell
def _(angles, bars, cosines, errors, mo):
    rows = [
        f"| {name} | {errors[name]:.1f} | {cosines[name]:.3f} | {100 * bars[name]:.0f} | {angles[name]:.0f} |"
        for name in errors
    ]
    mo.md(
        "\n".join(
            [
                "| | validation error % | cosine to the exact gradient | gradient off by up to % | largest weight angle ° |",
                "| --- | --- | --- | --- | --- |",
                *rows,
            ]
        )
    )
    return


@app.cell
def _(mo, plt, results):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    for _name, _result in results.items():
        _epochs = [metrics["epoch"] for metrics in _result.history]
        left.plot(_epochs, [metrics["validation_error_percent"] for metrics in _result.history], label=_name)
        right.plot(_epochs, [metrics["cosine_to_adjoint"]["total"] for metrics in _result.history], label=_name)
    left.set(xlabel="epoch", ylabel="validation error, %", yscale="log")
    right.set(xlabel="epoch", ylabel="cosine to the exact gradient")
    right.legend()
    mo.vstack([figure])
    return


@app.cell
def _(mo):
    mo.md("""
    Start at 0°: without a homeostasis learning itself turns the weights apart. At strength 1 they follow slowly.
    What a homeostasis
    needs, and which a circuit can do by itself, is in `docs/homeostasis.md`.
    """)
    return


if __name__ == "__main__":
    app.run()
