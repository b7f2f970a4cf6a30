"""The one list of datasets: what each is, whose it is, and the exact files it consists of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from equiprop.data._dataset import Split
from equiprop.data._digits import TEST_IMAGES, read_digits
from equiprop.data._mnist import read_mnist
from equiprop.errors import suggest


@dataclass(frozen=True)
class DataFile:
    """One file as its authors published it.

    **Arguments:**

    - `filename`: its name within the dataset's folder.
    - `urls`: where it is served, tried in this order.
    - `size`: in bytes.
    - `sha256`: of its bytes, 64 hex digits.
    """

    filename: str
    urls: tuple[str, ...]
    size: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """A dataset of the catalogue.

    **Arguments:**

    - `name`: what `load` and the settings call it, and the name of its folder in the data folder.
    - `description`: one line.
    - `classes`: the name of each class, in the order of the labels.
    - `image_shape`: of one image.
    - `train_images`, `validation_images`, `test_images`: how many images the splits of `load` have; the source's
        training images are the first two together.
    - `mean`, `scale`: a network's input is `(images - mean) / scale`, in units of the stored pixels.
    - `licence`, `citation`: whose it is and what to cite.
    - `files`: the files, in the order that `read` takes them; none where the dataset is built in.
    - `read`: makes the source's training and test images from the paths of the files.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    train_images: int
    validation_images: int
    test_images: int
    mean: float
    scale: float
    licence: str
    citation: str
    files: tuple[DataFile, ...]
    read: Callable[[tuple[Path, ...]], tuple[Split, Split]]


def _files(mirrors: tuple[str, ...], *published: tuple[str, int, str]) -> tuple[DataFile, ...]:
    return tuple(
        DataFile(filename, tuple(mirror + filename for mirror in mirrors), size, sha256)
        for filename, size, sha256 in published
    )


_TEN_DIGITS = tuple("0123456789")

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="digits",
            description="handwritten digits, 8 by 8, built in: the quick one",
            classes=_TEN_DIGITS,
            image_shape=(8, 8),
            train_images=1797 - TEST_IMAGES - 180,
            validation_images=180,
            test_images=TEST_IMAGES,
            mean=0.0,
            scale=16.0,
            licence="CC BY 4.0",
            citation="E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits. "
            "UCI Machine Learning Repository, doi:10.24432/C50P49 (the copy of scikit-learn)",
            files=(),
            read=lambda _: read_digits(),
        ),
        Entry(
            name="mnist",
            description="handwritten digits, 28 by 28",
            classes=_TEN_DIGITS,
            image_shape=(28, 28),
            train_images=55000,
            validation_images=5000,
            test_images=10000,
            mean=0.0,
            scale=255.0,
            licence="CC BY-SA 3.0",
            citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner (1998). Gradient-based learning applied to "
            "document recognition. Proceedings of the IEEE 86(11), 2278-2324, doi:10.1109/5.726791",
            files=_files(
                (
                    "https://ossci-datasets.s3.amazonaws.com/mnist/",
                    "https://storage.googleapis.com/cvdf-datasets/mnist/",
                ),
                (
                    "train-images-idx3-ubyte.gz",
                    9912422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                (
                    "train-labels-idx1-ubyte.gz",
                    28881,
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                (
                    "t10k-images-idx3-ubyte.gz",
                    1648877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                (
                    "t10k-labels-idx1-ubyte.gz",
                    4542,
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ),
            read=read_mnist,
        ),
        Entry(
            name="fashion_mnist",
            description="articles of clothing, 28 by 28",
            classes=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            image_shape=(28, 28),
            train_images=55000,
            validation_images=5000,
            test_images=10000,
            mean=0.0,
            scale=255.0,
            licence="MIT",
            citation="H. Xiao, K. Rasul and R. Vollgraf (2017). Fashion-MNIST: a novel image dataset for benchmarking "
            "machine learning algorithms. arXiv:1708.07747",
            files=_files(
                (
                    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                ),
                (
                    "train-images-idx3-ubyte.gz",
                    26421880,
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                (
                    "train-labels-idx1-ubyte.gz",
                    29515,
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                (
                    "t10k-images-idx3-ubyte.gz",
                    4422102,
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                (
                    "t10k-labels-idx1-ubyte.gz",
                    5148,
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ),
            read=read_mnist,
        ),
    )
}


def names() -> tuple[str, ...]:
    """The names of the datasets, in the order of the catalogue."""
    return tuple(CATALOGUE)


def entry(name: str) -> Entry:
    """The catalogue's entry of that name. **Raises:** `InputError` with the nearest name where there is none."""
    if name not in CATALOGUE:
        raise suggest("dataset", name, list(CATALOGUE))
    return CATALOGUE[name]
