"""The one list of datasets: what each is, whose it is, and the exact files it consists of."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from equiprop.data._cifar import CIFAR10, CIFAR100, Cifar, read_cifar
from equiprop.data._digits import TEST_IMAGES, read_digits
from equiprop.data._imagenet import CLASSES, LAYOUTS, read_imagenet
from equiprop.data._mnist import read_mnist
from equiprop.data._rows import IMAGE_SHAPE
from equiprop.data._source import Source
from equiprop.errors import suggest


@dataclass(frozen=True)
class DataFile:
    """One file as its authors published it.

    **Arguments:**

    - `filename`: its name within the dataset's folder, after `/` where it lies in a folder there.
    - `urls`: where it is served, tried in this order; none for a file that is in an archive or behind an account.
    - `size`: in bytes; 0 where it is not published.
    - `checksum`: of its bytes, `"sha256:"` or `"md5:"` and hex digits; empty where none is published.
    - `content`: of a compressed file the checksum of what is in it; one that was compressed anew, or by another program, is as
        good.
    - `members`: of an archive the files in it, each with its checksum, to the same end.
    """

    filename: str
    urls: tuple[str, ...] = ()
    size: int = 0
    checksum: str = ""
    content: str = ""
    members: tuple["DataFile", ...] = ()


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
    - `mean`, `scale`: a network's input is `(images - mean) / scale`, in units of the stored pixels; a number, or one
        for each channel.
    - `licence`, `citation`: whose it is and what to cite.
    - `files`: the files, in the order that `read` takes them; none where the dataset is built in.
    - `read`: makes the source's training and test images from the paths of the files; with `train=False` the latter alone.
    - `alternatives`: other sets of files that may lie there instead, such as an archive's content; `read` takes these too.
    - `obtain`: for files that have no urls, how to come by them.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    train_images: int
    validation_images: int
    test_images: int
    mean: float | tuple[float, ...]
    scale: float | tuple[float, ...]
    licence: str
    citation: str
    files: tuple[DataFile, ...]
    read: Callable[..., Source]
    alternatives: tuple[tuple[DataFile, ...], ...] = ()
    obtain: str = ""


def _idx(mirrors: tuple[str, ...], torchvision: str, *published: tuple[str, int, str, int, str]) -> dict[str, Any]:
    """The files of the MNIST family, and where else they may lie: decompressed, and in the folder `raw` that torchvision makes,
    in the dataset's own folder or beside it.

    **Arguments:**

    - `published`: of each file its name without `.gz`, its size and sha256, and the size and sha256 of what is in it.
    """

    def compressed(prefix: str, urls: tuple[str, ...]) -> tuple[DataFile, ...]:
        return tuple(
            DataFile(
                f"{prefix}{name}.gz", tuple(f"{url}{name}.gz" for url in urls), size, f"sha256:{sha}", f"sha256:{of}"
            )
            for name, size, sha, _, of in published
        )

    def plain(prefix: str) -> tuple[DataFile, ...]:
        return tuple(DataFile(f"{prefix}{name}", (), size, f"sha256:{sha}") for name, _, _, size, sha in published)

    places = ("", "raw/", f"{torchvision}/raw/", f"../{torchvision}/raw/")
    others = [layout for place in places for layout in (compressed(place, ()), plain(place))]
    return {"files": compressed("", mirrors), "alternatives": tuple(others[1:]), "read": read_mnist}


def _cifar(layout: Cifar, classes: int, name: str, size: int, sha256: str, *md5: str) -> dict[str, Any]:
    """The archive, or the files in it, of which only md5 checksums are published."""
    batches = tuple(
        DataFile(f"{layout.folder}/{batch}", checksum=f"md5:{digest}")
        for batch, digest in zip(layout.batches, md5, strict=True)
    )
    archive = DataFile(name, (f"{_TORONTO}{name}",), size, f"sha256:{sha256}", members=batches)
    beside = tuple(replace(batch, filename=f"../{batch.filename}") for batch in batches)
    return {
        "files": (archive,),
        "alternatives": (batches, beside),
        "read": partial(read_cifar, layout, classes),
    }


def _of_pixels(*fractions: float) -> tuple[float, ...]:
    """Of the 255 that a pixel has at most."""
    return tuple(255 * fraction for fraction in fractions)


_TEN_DIGITS = tuple("0123456789")
_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_KRIZHEVSKY = (
    "A. Krizhevsky (2009). Learning multiple layers of features from tiny images. Technical report, "
    "University of Toronto, https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf"
)
_CIFAR100_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly "
    "camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup "
    "dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower "
    "leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid "
    "otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray "
    "road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
    "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle "
    "wardrobe whale willow_tree wolf woman worm"
)
_SPREADS = 1.5
"""Standard deviations that make a network's input 1."""

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
            read=read_digits,
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
            **_idx(
                (
                    "https://ossci-datasets.s3.amazonaws.com/mnist/",
                    "https://storage.googleapis.com/cvdf-datasets/mnist/",
                ),
                "MNIST",
                (
                    "train-images-idx3-ubyte",
                    9912422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                    47040016,
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                ),
                (
                    "train-labels-idx1-ubyte",
                    28881,
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                    60008,
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                ),
                (
                    "t10k-images-idx3-ubyte",
                    1648877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                    7840016,
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                ),
                (
                    "t10k-labels-idx1-ubyte",
                    4542,
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                    10008,
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
            ),
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
            **_idx(
                (
                    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                ),
                "FashionMNIST",
                (
                    "train-images-idx3-ubyte",
                    26421880,
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                    47040016,
                    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                ),
                (
                    "train-labels-idx1-ubyte",
                    29515,
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                    60008,
                    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                ),
                (
                    "t10k-images-idx3-ubyte",
                    4422102,
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                    7840016,
                    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                ),
                (
                    "t10k-labels-idx1-ubyte",
                    5148,
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                    10008,
                    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                ),
            ),
        ),
        Entry(
            name="cifar10",
            description="photographs of animals and vehicles, 32 by 32 in colour",
            classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            image_shape=IMAGE_SHAPE,
            train_images=45000,
            validation_images=5000,
            test_images=10000,
            mean=_of_pixels(0.4914, 0.4822, 0.4465),
            scale=_of_pixels(_SPREADS * 0.2470, _SPREADS * 0.2435, _SPREADS * 0.2616),
            licence="none stated by its authors, who ask to be cited",
            citation=_KRIZHEVSKY,
            **_cifar(
                CIFAR10,
                10,
                "cifar-10-python.tar.gz",
                170498071,
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                "c99cafc152244af753f735de768cd75f",
                "d4bba439e000b95fd0a9bffe97cbabec",
                "54ebc095f3ab1f0389bbae665268c751",
                "634d18415352ddfa80567beed471001a",
                "482c414d41f54cd18b22e5b47cb7c3cb",
                "40351d587109b95175f43aff81a1287e",
            ),
        ),
        Entry(
            name="cifar100",
            description="photographs of a hundred kinds of things, 32 by 32 in colour",
            classes=tuple(_CIFAR100_CLASSES.split()),
            image_shape=IMAGE_SHAPE,
            train_images=45000,
            validation_images=5000,
            test_images=10000,
            mean=_of_pixels(0.5071, 0.4865, 0.4409),
            scale=_of_pixels(_SPREADS * 0.2673, _SPREADS * 0.2564, _SPREADS * 0.2762),
            licence="none stated by its authors, who ask to be cited",
            citation=_KRIZHEVSKY,
            **_cifar(
                CIFAR100,
                100,
                "cifar-100-python.tar.gz",
                169001437,
                "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
                "16019d7e3df5f24257cddd939b257f8d",
                "f0ef6b0ae62326f3e7ffdfab6717acfc",
            ),
        ),
        Entry(
            name="imagenet32",
            description="ImageNet's thousand classes, 32 by 32 in colour, read file by file",
            classes=tuple(f"class {label}" for label in range(1, CLASSES + 1)),
            image_shape=IMAGE_SHAPE,
            train_images=1281167 - 10000,
            validation_images=10000,
            test_images=50000,
            mean=_of_pixels(0.481, 0.457, 0.408),
            scale=_of_pixels(_SPREADS * 0.260, _SPREADS * 0.253, _SPREADS * 0.268),
            licence="for non-commercial research and education, on the terms of https://image-net.org/download",
            citation="P. Chrabaszcz, I. Loshchilov and F. Hutter (2017). A downsampled variant of ImageNet as an "
            "alternative to the CIFAR datasets. arXiv:1707.08819",
            files=tuple(map(DataFile, LAYOUTS[0])),
            read=read_imagenet,
            alternatives=tuple(tuple(map(DataFile, layout)) for layout in LAYOUTS[1:]),
            obtain='get "Downsampled ImageNet 32x32" (train and val, npz or pickles) from '
            "https://image-net.org/download-images, which asks for an account, and unpack both there",
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
