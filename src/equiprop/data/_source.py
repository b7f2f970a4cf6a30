"""What a reader of files finds, before anything is held out of it."""

from dataclasses import dataclass

from equiprop.data._shards import Shards
from equiprop.data._split import Split


@dataclass(frozen=True, eq=False)
class Source:
    """Splits as they are stored.

    **Arguments:**

    - `train`: `None` where only the test samples were asked for.
    - `validation`, `test`: `None` where there are none, so that they are held out of the training samples.
    - `classes`: their names, in the order of the labels; none where targets name no classes.
    """

    train: Split | Shards | None
    validation: Split | None
    test: Split | None
    classes: tuple[str, ...]
