"""A nudge that shrinks as training goes on: large where noise matters, small where the gradient must be right."""

import jax

import equiprop as ep

digits = ep.data.load("digits")
system = ep.mlp(64, (32,), 10, key=jax.random.key(0), feedback_gain=1.0)

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
        diagnostic_samples=100,
        quiet=True,
    )
    first, last = (result.history[i]["cosine_to_adjoint"]["total"] for i in (0, -1))
    error = result.history[-1]["validation_error_percent"]
    print(f"{name:22s}  cosine to the exact gradient {first:.3f} -> {last:.3f}  validation error {error:.1f} %")
