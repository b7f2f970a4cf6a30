"""The handwritten digits that come with scikit-learn: small, and there without a download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from equiprop.data._source import Source
from equiprop.data._split import Split, held_out

TEST_IMAGES = 360
_TEST_SEED = 1797


def read_digits(paths: tuple[Path, ...] = (), *, train: bool = True) -> Source:
    """1,437 training and 360 test images of the built-in digits.

    The test images are a fixed choice, stratified by class, that no setting changes (`held_out`).

    **Returns:** both with images uint8 `[n, 8, 8]`, each pixel the count from 0 to 16 of the inked ones of a 4 by 4
    block, and labels int32 `[n]`.

    Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, doi:10.24432/C50P49; scikit-learn carries a
    copy of its test set.
    """
    del paths, train  # all of it is small
    spec = find_spec("sklearn")
    assert spec is not None and spec.origin is not None
    # Its own reader takes a second, nearly all of it to import scikit-learn.
    table = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 8, 8).astype(np.uint8), table[:, -1].astype(np.int32)
    kept, held = held_out(labels, TEST_IMAGES, _TEST_SEED)
    return Source(Split(images[kept], labels[kept]), None, Split(images[held], labels[held]), ())
