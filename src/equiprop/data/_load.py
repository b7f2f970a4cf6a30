"""From a name to a dataset in memory, verified and split."""

from equiprop.data._catalogue import entry
from equiprop.data._dataset import Dataset, Split, checksum_of
from equiprop.data._split import held_out
from equiprop.data._store import find

_VALIDATION_SEED = 5000


def load(name: str) -> Dataset:
    """The dataset of that name in the catalogue.

    Every file is verified (size and sha256) before any is read. The validation split is held out of the source's
    training images by a fixed choice, stratified by class, that no seed of a run changes: everyone's runs share it.

    **Returns:** the dataset; its arrays are read-only, and each split is in the order of the source.

    **Raises:** `InputError` where the name is not in the catalogue, a file is corrupt, or a file is missing and cannot
    be downloaded.
    """
    chosen = entry(name)
    source, test = chosen.read(find(name))
    kept, held = held_out(source.labels, chosen.validation_images, _VALIDATION_SEED)
    train = Split(source.images[kept], source.labels[kept])
    validation = Split(source.images[held], source.labels[held])
    for split in (train, validation, test):
        split.images.setflags(write=False)
        split.labels.setflags(write=False)
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        classes=chosen.classes,
        mean=chosen.mean,
        scale=chosen.scale,
        checksum=checksum_of(train, validation, test),
    )
