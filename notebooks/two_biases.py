"""The two biases of equilibrium propagation, by hand on three units.

marimo edit notebooks/two_biases.py
"""

import marimo

app = marimo.App(app_title="Two biases, by hand")


@app.cell
def _():
    import jax.numpy as jnp
    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np

    import equiprop as ep

    return ep, jnp, mo, np, plt


@app.cell
def _(mo):
    mo.md(r"""
    # Two biases, by hand

    Three units with the force $F = W r + x - u$, $r = \tanh u$, come to rest. A nudge $-\beta\,\partial C/\partial
    r$ moves them, and
    $-dr/d\beta$ is the **response** $\delta_E$, which solves $J\delta_E = -\nabla C$. The exact gradient needs
    $\delta$, which solves
    $J^\mathsf{T}\delta = -\nabla C$. So an estimate is off twice:

    - by the **finite nudge**: it is not quite $\delta_E$;
    - by **asymmetry**: $\delta_E$ is not $\delta$ where $J \neq J^\mathsf{T}$.
    """)
    return


@app.cell
def _(mo):
    asymmetry = mo.ui.slider(0.0, 1.0, 0.05, value=0.5, label="asymmetry of W", show_value=True)
    nudge = mo.ui.slider(0.02, 1.0, 0.02, value=0.3, label="nudge |β|", show_value=True)
    mo.hstack([asymmetry, nudge], justify="start")
    return asymmetry, nudge


@app.cell
def _(asymmetry, np):
    symmetric = 0.3 * np.array([[0.0, 1.0, -0.5], [1.0, 0.0, 0.8], [-0.5, 0.8, 0.0]])
    turning = 0.6 * np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    weight = symmetric + asymmetry.value * turning
    drive, target = np.array([0.4, -0.2, 0.3]), np.array([0.5, 0.1, -0.4])

    state = np.zeros(3)
    for _ in range(5000):
        state += 0.1 * (weight @ np.tanh(state) + drive - state)
    activity = np.tanh(state)
    jacobian = weight - np.diag(1 / (1 - activity**2))  # of the force with respect to the activity
    slope = activity - target  # of C = ½‖r − y‖²
    exact, response = np.linalg.solve(jacobian.T, -slope), np.linalg.solve(jacobian, -slope)
    return drive, exact, jacobian, response, target, weight


@app.cell
def _(drive, ep, jnp, nudge, np, target, weight):
    system = ep.from_force(
        lambda w, u, x: jnp.tanh(u) @ w.T + x - u,
        jnp.asarray(weight, jnp.float32),
        initial_state=jnp.zeros(3),
        activity=jnp.tanh,
        leak=1.0,
    )
    x, y = (jnp.asarray(a, jnp.float32)[None] for a in (drive, target))
    solver = ep.GaussSeidel(tolerance=1e-6, max_steps=2000, nudged_max_steps=2000)

    def error_vector(estimator):
        return np.asarray(ep.estimate(system, x, y, estimator, solver=solver).error_vector)[0]

    read = {1: error_vector(ep.OneSided(nudge.value)), 2: error_vector(ep.Centered(nudge.value))}
    read |= {n: error_vector(ep.Holomorphic(nudge.value, n)) for n in (4, 6, 8)}
    return error_vector, read


@app.cell
def _(exact, mo, np, read, response):
    def off(vector, what):
        return np.linalg.norm(vector - what) / np.linalg.norm(exact)

    rows = [f"| {n} | {off(v, response):.1e} | {off(v, exact):.1e} |" for n, v in read.items()]
    by_nudge = {n: off(v, response) for n, v in read.items()}
    by_asymmetry = off(response, exact)
    mo.md(
        "\n".join(
            [
                "## What an estimate is off by, in lengths of δ",
                "",
                "| points N on the circle | to the response δ_E | to the exact δ |",
                "| --- | --- | --- |",
                *rows,
                "",
                f"More points do away with the nudge. What is left is ‖δ_E − δ‖ = **{by_asymmetry:.3f}**, which no number of "
                "points takes off.",
            ]
        )
    )
    return by_asymmetry, by_nudge


@app.cell
def _(exact, jacobian, mo, np, response):
    S, A = (jacobian + jacobian.T) / 2, (jacobian - jacobian.T) / 2
    lower = np.linalg.cholesky(-S)
    sigma = np.linalg.norm(np.linalg.solve(lower, np.linalg.solve(lower, A).T), 2)

    def inner(a, b):
        return -a @ S @ b

    lengths = np.sqrt(inner(response, response) / inner(exact, exact))
    angle = np.degrees(np.arccos(np.clip(inner(response, exact) / (lengths * inner(exact, exact)), -1, 1)))
    most = np.degrees(2 * np.arctan(sigma))
    mo.md(rf"""
    ## Asymmetry is a rotation

    In the inner product of $-S$, the symmetric part of $J$, the two vectors have the same length, whatever the
    asymmetry: here the
    ratio is **{lengths:.6f}**. The response is δ, turned by **{angle:.1f}°**; it could not be more than
    $2\arctan\sigma$ = **{most:.1f}°**, whatever the cost. Below 90° it points downhill in that metric.
    """)
    return angle, lengths, most


@app.cell
def _(by_asymmetry, by_nudge, mo, plt):
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.semilogy(list(by_nudge), list(by_nudge.values()), "o-", label="finite nudge")
    axes.axhline(max(by_asymmetry, 1e-9), color="C1", label="asymmetry")
    axes.set(xlabel="points on the circle", ylabel="relative error")
    axes.legend()
    mo.vstack([figure])
    return


@app.cell
def _(ep, error_vector, exact, mo, np):
    corrected = error_vector(ep.Corrected(0.3, 6))
    left = np.linalg.norm(corrected - exact) / np.linalg.norm(exact)
    mo.md(f"""
    ## Without the bias

    `Corrected` adds the force −2A(r − r*) while it nudges: its response is δ itself, here to **{left:.0e}**. It
    takes products with
    Jᵀ. A homeostasis takes the asymmetry off instead.
    """)
    return (left,)


if __name__ == "__main__":
    app.run()
