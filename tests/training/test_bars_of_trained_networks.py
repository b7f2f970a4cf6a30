"""The bars where people train: a network in single precision that has learnt, against gradients in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_bar import measured

import equiprop as ep
from equiprop.training import on_device

ESTIMATORS = {"small": ep.Centered(0.05), "large": ep.Centered(0.5)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "homeostasis"),
    # At a gain of 1 rounding decides whether a tied network is near a fold half way, and with it how much it learns.
    [
        ({"feedback_gain": 0.05}, ep.AntisymmetricHomeostasis(100.0, feedback_only=True)),
        ({"feedback_gain": 0.5, "feedback": "tied"}, None),
    ],
    ids=["weak and homeostatic", "strong and tied"],
)
def test_they_hold_and_are_near(options, homeostasis):
    data = ep.data.load("digits")
    system = jax.tree.map(
        lambda a: a.astype(jnp.float32),
        ep.mlp(64, (32, 32), 10, key=jax.random.key(0), **options),
    )
    found = ep.fit(system, data, optimizer=ep.SGD(0.05), homeostasis=homeostasis, epochs=10, batch_size=20, quiet=True)
    assert found.history[-1]["validation_error_percent"] < 40
    samples = on_device(data.train, data, jnp.float32)
    rows = measured(found.system, ep.GaussSeidel(), samples, 8, 40, ESTIMATORS)
    for name, (exact, limit, of_samples) in rows.items():
        for what, pairs in (("exact", exact), ("limit", limit), ("samples", of_samples)):
            errors, bars = pairs.T
            assert np.mean(errors <= bars) >= 0.95, (name, what, errors, bars)
            assert np.mean((errors <= bars) & (bars <= 5 * errors)) >= 0.8, (name, what, errors, bars)
