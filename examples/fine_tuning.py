"""A trained run goes on with other data, another estimator and another optimizer. `equiprop train --from RUN` does the same."""

import jax
import numpy as np
import optax

import equiprop as ep

digits = ep.data.load("digits")
system = ep.mlp(64, (32,), 10, key=jax.random.key(0))
ep.fit(
    system, digits, estimator=ep.OneSided(nudge=0.05), optimizer=ep.AdamW(1e-2), epochs=10, run="runs/clean", quiet=True
)

# Later, elsewhere: the same digits, a pixel further to the right.
trained = ep.load("runs/clean", checkpoint="best", like=system).system
moved = {name: (np.roll(split.x, 1, axis=2), split.y) for name, split in (
    ("train", digits.train), ("validation", digits.validation))}  # fmt: skip
data = ep.data.Dataset.from_arrays(*moved["train"], validation=moved["validation"], name="moved")

before = ep.fit(trained, data, optimizer=optax.sgd(0.0), epochs=1, quiet=True)
result = ep.fit(
    trained, data, estimator=ep.Holomorphic(nudge=0.1, points=4), optimizer=ep.AdamW(1e-2), epochs=5, quiet=True
)
for name, found in (("as it was", before), ("fine-tuned", result)):
    print(f"{name}: validation error {found.history[-1]['validation_error_percent']:.1f} %")
