"""What the default solver settles, and in how many sweeps, against plain sweeps and Anderson's method, on random networks.

python benchmarks/never_worse.py        # 80 networks of each of 32 kinds, 16 samples each: some ten minutes
python benchmarks/never_worse.py 16
"""

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import equiprop as ep

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from many_networks import KINDS, family, outcomes

PLAIN = ep.GaussSeidel(damping=0.0)
SOLVERS = {"default": ep.GaussSeidel(), "Anderson(1)": ep.Anderson(depth=1), "Anderson(3)": ep.Anderson()}
ACTIVATIONS = ("tanh", "shifted_sigmoid", "dsilu", "relu")


def main(per_kind: int) -> None:
    print(
        "| solver | networks | phase | samples | plain | lost | won | sweeps, plain | sweeps | larger by 5 and more |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, solver in SOLVERS.items():
        for kind in (*KINDS, "one population"):
            rows: dict[str, list[np.ndarray]] = {}
            for seed, activation in enumerate(ACTIVATIONS):
                networks = family(kind, activation, per_kind, seed=seed, dtype=jnp.float32)
                for phase, plain, other in outcomes(networks, PLAIN, solver):
                    theirs, ours = np.asarray(plain.converged), np.asarray(other.converged)
                    both = theirs & ours
                    longer = (np.asarray(other.steps) - np.asarray(plain.steps))[both]
                    sweeps = [np.asarray(run.steps)[both].sum() for run in (plain, other)]
                    lost, won = (theirs & ~ours).sum(), (ours & ~theirs).sum()
                    counts = [theirs.size, theirs.sum(), lost, won, both.sum(), *sweeps, (longer >= 5).sum()]
                    rows.setdefault(phase, []).append(np.asarray(counts))
            for phase, found in rows.items():
                samples, settled, lost, won, both, before, after, longer = np.sum(found, axis=0)
                print(
                    f"| {name} | {kind} | {phase} | {samples} | {settled} | {lost} | {won} "
                    f"| {before / both:.1f} | {after / both:.1f} | {longer} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 80)
