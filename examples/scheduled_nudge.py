"""A nudge that shrinks as training goes on: large where noise matters, small where the gradient must be right."""

import jax

import equiprop as ep

digits = ep.data.load("digits")
system = ep.mlp(64, (32,), 10, key=jax.random.key(0), feedback_gain=0.5)

for name, nudge in (
    ("constant", 0.5),
    ("cosine", ep.Schedule("cosine", 0.5, 0.02)),
    ("a function of progress", lambda progress: 0.5 * 0.04**progress),
):
    result = ep.fit(
        system,
        digits,
        estimator=ep.Centered(nudge=nudge),
        optimizer=ep.AdamW(1e-2),
        epochs=6,
        diagnostic_samples=0,
        quiet=True,
    )
    first, last = (result.history[i]["gradient_bar"] for i in (0, -1))
    error = result.history[-1]["validation_error_percent"]
    print(f"{name:22s}  gradient off by up to {first:.0%} -> {last:.0%}  validation error {error:.1f} %")
