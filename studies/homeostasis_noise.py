"""How noisy the gradient of homeostasis is, from two probes of the same loss: the table of docs/homeostasis.md.

python studies/homeostasis_noise.py

A 784-256-256-10 network, feedback weights at an angle to the forward ones. For dense pairs the gradient of 2|A|^2/n is known,
2(W - B)/n; printed is the error of one estimate (5 probes, 5 samples) against it, root mean square over 20 draws.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import equiprop as ep

PAIR = ("hidden_1->hidden_2", "hidden_2->hidden_1")
UNITS = 256 + 256 + 10
SAMPLES = 5
ANGLES = (90, 30, 10, 3, 1)
DRAWS = 20
LOSSES = {
    "published": ep.JacobianHomeostasis(probes=5, samples=SAMPLES),
    "antisymmetric": ep.AntisymmetricHomeostasis(probes=5, samples=SAMPLES, balanced=False),
}


def main() -> None:
    x = jax.random.normal(jax.random.key(1), (SAMPLES, 784))
    print("| angle | |gradient| | published | antisymmetric |")
    print("|---|---|---|---|")
    for angle in ANGLES:
        system = ep.mlp(784, (256, 256), 10, key=jax.random.key(0), weight_angle=float(angle), feedback_gain=1.0)
        batch = ep.Batch(x, system.initial_state(x), jnp.ones(SAMPLES, bool))
        forward, feedback = (system.weights[name] for name in PAIR)
        exact = 2 * (forward - feedback) / UNITS
        cells = []
        for homeostasis in LOSSES.values():
            gradient = eqx.filter_jit(homeostasis.gradient)
            errors = [
                float(jnp.linalg.norm(gradient(system, batch, key=key)[0].weights[PAIR[0]] - exact))
                for key in jax.random.split(jax.random.key(2), DRAWS)
            ]
            cells.append(f"{np.sqrt(np.mean(np.square(errors))) / float(jnp.linalg.norm(exact)):.2f}")
        print(f"| {angle}° | {float(jnp.linalg.norm(exact)):.4f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
