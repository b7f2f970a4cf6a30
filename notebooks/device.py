"""A device, from a table to a verdict: will the gradient still point downhill?

marimo edit notebooks/device.py
"""

import marimo

app = marimo.App(app_title="A device, from a table to a verdict")


@app.cell
def _():
    import jax
    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np

    import equiprop as ep
    from equiprop import hardware as hw

    return ep, hw, jax, mo, np, plt


@app.cell
def _(mo):
    mo.md("""
    # A device, from a table to a verdict

    What a data sheet says of the cells and neurons of a chip, and what becomes of the gradient that a trained
    network reads off it.
    Every chip is one draw of the device: ten of them are measured.
    """)
    return


@app.cell
def _(mo):
    bits = mo.ui.slider(2, 10, value=6, label="bits of a cell", show_value=True)
    mismatch = mo.ui.slider(0.0, 0.3, 0.02, value=0.1, label="mismatch of cells, parts of a weight", show_value=True)
    noise = mo.ui.slider(steps=[0.0, 1e-3, 3e-3, 1e-2, 3e-2], value=3e-3, label="noise of a reading", show_value=True)
    readings = mo.ui.slider(steps=[1, 4, 16, 64], value=16, label="readings", show_value=True)
    nudge = mo.ui.slider(steps=[0.02, 0.05, 0.1, 0.2, 0.5], value=0.1, label="nudge |β|", show_value=True)
    mo.vstack([bits, mismatch, noise, readings, nudge])
    return bits, mismatch, noise, nudge, readings


@app.cell
def _(ep, jax):
    data = ep.data.load("digits")
    start = ep.mlp(64, (32,), 10, feedback_gain=0.5, feedback="tied", key=jax.random.key(0))
    ideal = ep.fit(start, data, optimizer=ep.SGD(0.1), batch_size=20, epochs=15, quiet=True).system
    x = (data.test.x[:100] - data.mean) / data.scale
    y = data.test.y[:100]
    return ideal, x, y


@app.cell
def _(bits, hw, mismatch, noise, readings):
    device = hw.Device(
        quantisation=hw.Quantisation(bits=bits.value),
        mismatch=hw.Mismatch(gain=mismatch.value or None),
        readout=hw.Readout(noise=noise.value or None, repeats=readings.value),
    )
    return (device,)


@app.cell
def _(device, ep, hw, ideal, jax, np, nudge, x, y):
    found = hw.monte_carlo(device, ideal, x, y, ep.Centered(nudge.value), chips=10)
    cosines, errors = np.asarray(found.cosine), np.asarray(found.error_percent)
    chip = device.instance(ideal, seed=0)
    bar = ep.estimate(chip, x, y, ep.Centered(nudge.value), key=jax.random.key(1)).gradient_bar
    causes = {name: float(value) for name, value in bar.causes.items()}
    return bar, causes, cosines, errors


@app.cell
def _(bar, causes, cosines, errors, mo):
    downhill = (cosines > 0).mean()
    cause = max(causes, key=lambda name: causes[name])
    mo.md(f"""
    ## Verdict

    On **{100 * downhill:.0f} %** of the chips the gradient points downhill; its cosine to the exact one of the chip is
    **{cosines.mean():.2f} ± {cosines.std():.2f}**. Without learning further the chips err on {errors.mean():.1f} ±
    {errors.std():.1f} %.
    On the first chip the gradient may be off by {100 * float(bar.exact):.0f} % of itself, most of it by **{cause}**.
    """)
    return cause, downhill


@app.cell
def _(causes, mo, plt):
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    shown = {name: value for name, value in sorted(causes.items(), key=lambda item: item[1]) if value > 0}
    axes.barh(list(shown), [100 * value for value in shown.values()])
    axes.set(xlabel="the gradient may be off by, % of its length", xscale="log")
    mo.vstack([figure])
    return


if __name__ == "__main__":
    app.run()
