"""Arrays of one's own: a classifier, early stopping, a run directory, the confusion matrix, weights to a file."""

import jax
import numpy as np
from sklearn.datasets import load_wine

import equiprop as ep

x, y = load_wine(return_X_y=True)
data = ep.data.Dataset.from_arrays(x, y, validation=0.2, test=0.2, classes=["Barolo", "Grignolino", "Barbera"])
system = ep.mlp(13, (32,), 3, key=jax.random.key(0))

result = ep.fit(
    system,
    data,
    estimator=ep.Centered(nudge=0.1),
    batch_size=20,
    epochs=60,
    callbacks=[ep.EarlyStopping("validation_loss", patience=5)],
    run="runs/wine",  # the same call goes on where it stopped, also after a kill -9
)
print(result)

run = ep.load("runs/wine", checkpoint="best", like=system, dataset=data)
found = run.evaluate("test")
print(f"test error {found['error_percent']:.1f} %, of each class {found['class_error_percent']}")
print("confusion, a row for each class:")
print(run.confusion("test"))

labels = run.predict(data.test.x).label
assert labels is not None
print("predicted:", [data.classes[label] for label in labels[:5]])
path = run.export("runs/wine/weights.npz")
print("exported:", {name: array.shape for name, array in np.load(path).items()})
print("page:", result.report())
