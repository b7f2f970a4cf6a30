"""Five seeds at once: as many as there are cores run side by side, each bit for bit what it is alone."""

import jax
import numpy as np

import equiprop as ep

digits = ep.data.load("digits")
systems = [ep.mlp(64, (32,), 10, key=jax.random.key(seed)) for seed in range(5)]
results = ep.fit_lanes(systems, digits, key=[*range(5)], epochs=8, optimizer=ep.AdamW(1e-2))
errors = [result.history[-1]["validation_error_percent"] for result in results]
print(f"validation error {np.mean(errors):.1f} ± {np.std(errors, ddof=1):.1f} % over {len(errors)} seeds")
