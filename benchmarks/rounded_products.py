"""What rounded products do to the gradient: convolutions whose factors keep ten bits, or seven, emulated on a CPU.

    python benchmarks/rounded_products.py [RUN]

Ten bits are those of tensorfloat32 on a GPU, seven those of bfloat16; sums are in single precision. 50 validation samples of RUN,
or four random ones on a fresh small network. Free phases to what such products let a force be told to, at most ten sweeps a
nudged phase. Prints by layer the mean cosine of the samples' error vectors with the exact ones, those of recurrent
backpropagation with whole products.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import equiprop as ep
from equiprop.numerics import convolution

TOLERANCES = {23: 1e-4, 10: 1e-3, 7: 1e-2}
NUDGES = (1.0, 0.2)
PRESET, SIDE = "small", 32
WHOLE = convolution.by_products


def keep(bits: int) -> None:
    """Convolutions round their factors to so many bits after the first."""

    def by_products(images, weight, stride, padding):
        images, weight = (jax.lax.reduce_precision(a, 8, bits) for a in (images, weight))
        return WHOLE(images, weight, stride, padding)

    convolution.by_products = by_products
    jax.clear_caches()


def vectors(system, x, y, estimator, solver) -> tuple[dict[str, np.ndarray], ep.Estimate]:
    found = ep.estimate(system, x, y, estimator, solver=solver)
    return {k: np.asarray(v, float).reshape(len(v), -1) for k, v in found.error_vector.items()}, found


def main(run: str | None = None) -> None:
    if run is None:
        image = (SIDE, SIDE, 3)
        system = ep.cnn(image, 10, key=0, preset=PRESET, gain=4.0, feedback_gain=0.25, feedback="tied")
        x, y = jax.random.normal(jax.random.key(1), (4, *image)), jnp.arange(4)
    else:
        trained = ep.load(run)
        system, (x, y) = trained.system, trained.batch("validation", range(50))
    exact, _ = vectors(system, x, y, ep.RecurrentBackprop(), ep.GaussSeidel(tolerance=1e-5, max_steps=300))
    print(f"| bits | nudge | {' | '.join(exact)} | sweeps, free and nudged | converged % |")
    print("|" + "---|" * (len(exact) + 4))
    for bits, tolerance in TOLERANCES.items():
        keep(bits)
        solver = ep.GaussSeidel(tolerance=tolerance, nudged_max_steps=10)
        for nudge in NUDGES:
            estimator = ep.Centered(nudge=nudge, clip=jnp.inf, unconverged="keep", branch_switch="keep")
            found, estimate = vectors(system, x, y, estimator, solver)
            cosines = (
                np.mean(np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
                for a, b in ((found[k], exact[k]) for k in exact)
            )
            free = estimate.equilibrium.steps
            sweeps = f"{np.mean(free):.1f}, {np.mean(estimate.relaxation_steps - free) / 2:.1f}"
            settled = f"{100 * np.mean(~estimate.unconverged):.0f}"
            print(
                f"| {bits} | {nudge} | {' | '.join(f'{c:.4f}' for c in cosines)} | {sweeps} | {settled} |", flush=True
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
