"""ImageNet 32×32 without ImageNet: files of the official format and any size, and how fast and in how much memory they are read.

    python benchmarks/imagenet32.py FOLDER [--images 1281167] [--validation 50000]

writes FOLDER/imagenet32 unless it is there: ten training files and one of validation images as npz, a thousand classes, each
image a pattern of its class under noise. With EQUIPROP_DATA_DIR=FOLDER every command then takes `imagenet32`. Prints the images
per second of an epoch's reading and the largest memory of the process.
"""

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np

CLASSES, PIXELS, FILES = 1000, 3072, 10


def write(folder: Path, images: int, validation: int) -> None:
    """One file at a time, so that memory holds no more than one."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (CLASSES, PIXELS), dtype=np.uint8)
    ends = np.linspace(0, images, FILES + 1).astype(int)
    sizes = {f"Imagenet32_train_npz/train_data_batch_{i + 1}": n for i, n in enumerate(np.diff(ends))}
    for name, n in (sizes | {"val_data": validation}).items():
        labels = rng.integers(0, CLASSES, n)
        noise = rng.integers(0, 256, (n, PIXELS), dtype=np.uint8)
        path = folder / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, data=patterns[labels] // 2 + noise // 2, labels=labels + 1, mean=patterns.mean(axis=0))


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_281_167)
    parser.add_argument("--validation", type=int, default=50_000)
    options = parser.parse_args()
    if not (options.folder / "imagenet32").exists():
        write(options.folder / "imagenet32", options.images, options.validation)

    os.environ["EQUIPROP_DATA_DIR"] = str(options.folder)
    from equiprop import data

    began, before = time.perf_counter(), megabytes()
    dataset = data.load("imagenet32")
    opened = time.perf_counter() - began
    assert isinstance(dataset.train, data.Shards)
    began, images = time.perf_counter(), 0
    for index in range(len(dataset.train.counts)):
        images += len(dataset.train.load(index))
    seconds = time.perf_counter() - began
    print(f"opened in {opened:.1f} s: {sum(dataset.train.counts)} training images in {len(dataset.train.counts)} files")
    print(f"an epoch's reading: {seconds:.1f} s, {images / seconds:.0f} images/s")
    print(f"largest memory: {megabytes():.0f} MiB, {before:.0f} MiB before")


if __name__ == "__main__":
    main()
