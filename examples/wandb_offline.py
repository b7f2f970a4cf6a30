"""Epochs recorded by Weights & Biases, without a network. `pip install 'equiprop[wandb]'`."""

import jax

import equiprop as ep

digits = ep.data.load("digits")
system = ep.mlp(64, (32,), 10, key=jax.random.key(0))
result = ep.fit(
    system,
    digits,
    optimizer=ep.AdamW(1e-2),
    epochs=3,
    diagnostic_samples=50,
    callbacks=[ep.WandB(project="equiprop-examples", mode="offline")],  # a tracker that fails never stops training
)
print("`wandb sync wandb/offline-run-*` uploads it")
