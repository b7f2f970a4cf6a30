"""Arrays of a user's own: what is accepted as it is, what is refused and how, and which samples are held out."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equiprop.data import Dataset, DatasetInfo, Split
from equiprop.errors import InputError

X = np.random.default_rng(0).normal(2.0, 3.0, (40, 5)).astype(np.float32)
LABELS = np.arange(40) % 4


def refusal(*given: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        Dataset.from_arrays(*given, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, np.int32])
@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_labels_of_any_integer_type(dtype: Any, shape: tuple[int, ...]) -> None:
    made = Dataset.from_arrays(X, LABELS.astype(dtype).reshape(shape))
    assert made.train.y.dtype == np.int32
    assert made.classes == ("0", "1", "2", "3")
    assert made.info.outputs == 4
    assert np.bincount(made.validation.y).tolist() == [1, 1, 1, 1]


def test_words_are_classes_in_their_order() -> None:
    words = np.array(["pear", "apple"])[np.arange(40) % 2]
    made = Dataset.from_arrays(X, words, validation=0.0)
    assert made.classes == ("apple", "pear")
    np.testing.assert_array_equal(np.array(made.classes)[made.train.y], words)


@pytest.mark.parametrize(
    ("y", "outputs"),
    [
        (np.eye(4)[LABELS], 4),
        (np.eye(4, dtype=np.int64)[LABELS], 4),
        (X[:, 0], 1),
        (X[:, :3], 3),
        ({"kind": np.eye(4)[LABELS], "size": X[:, :2]}, {"kind": 4, "size": 2}),
    ],
)
def test_targets_that_are_no_labels(y: Any, outputs: Any) -> None:
    made = Dataset.from_arrays(X, y)
    assert made.info.outputs == outputs
    assert made.classes == ()
    assert (len(made.train), len(made.validation), len(made.test)) == (36, 4, 0)


def test_the_inputs_of_a_system_are_of_size_one() -> None:
    made = Dataset.from_arrays(X, LABELS)
    scaled = (made.train.x - made.mean) / made.scale
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 2 / 3, rtol=1e-5)
    plain = Dataset.from_arrays(X, LABELS, normalize=False)
    assert (plain.mean, plain.scale) == (0.0, 1.0)


def test_the_scale_of_images_is_that_of_each_channel_whatever_their_type() -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
    images[..., 2] = 7
    bytes_, floats = (Dataset.from_arrays(x, np.arange(20) % 2) for x in (images, images.astype(np.float32)))
    assert floats.mean.shape == (3,)
    np.testing.assert_allclose(floats.mean, bytes_.mean)
    np.testing.assert_allclose(floats.scale, bytes_.scale)
    np.testing.assert_allclose(bytes_.mean, bytes_.train.x.astype(float).mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(bytes_.scale[:2], 1.5 * bytes_.train.x.astype(float).std(axis=(0, 1, 2))[:2])
    assert bytes_.scale[2] == 1.0


def test_several_inputs_are_scaled_each_by_itself() -> None:
    made = Dataset.from_arrays({"a": X, "b": 100 * X[:, 0]}, LABELS)
    assert made.input_shape == {"a": (5,), "b": ()}
    assert made.scale["a"].shape == (5,)
    np.testing.assert_allclose(made.scale["b"], 100 * made.scale["a"][0], rtol=1e-5)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(n=st.integers(20, 60), validation=st.sampled_from([0.0, 0.1, 0.25]), test=st.sampled_from([0.0, 0.1, 0.3]))
def test_every_sample_is_in_one_split(n: int, validation: float, test: float) -> None:
    x = np.arange(n, dtype=np.float64)
    made = Dataset.from_arrays(x, np.arange(n) % 3, validation=validation, test=test, normalize=False)
    parts = [made.train, made.validation, made.test]
    assert sorted(np.concatenate([part.x for part in parts]).tolist()) == x.tolist()
    assert len(made.test) == round(test * n)
    assert len(made.validation) == round(validation * (n - len(made.test)))
    for part in parts:
        np.testing.assert_array_equal(part.x.astype(int) % 3, part.y)


def test_splits_may_be_given() -> None:
    made = Dataset.from_arrays(X, LABELS, validation=(X[:3], LABELS[:3]), test=(X[:5], LABELS[:5] + 1))
    assert (len(made.train), len(made.validation), len(made.test)) == (40, 3, 5)
    assert made.classes == ("0", "1", "2", "3", "4")[: max(LABELS[:5] + 1) + 1]


def test_the_arrays_that_were_given_stay_writeable_and_those_of_the_dataset_are_not() -> None:
    x, y = X.copy(), LABELS.astype(np.int32)
    made = Dataset.from_arrays(x, y, validation=(x, y), normalize=False)
    assert x.flags.writeable and y.flags.writeable
    for split in (made.train, made.validation):
        assert not split.x.flags.writeable and not split.y.flags.writeable


def test_what_is_wrong_is_said() -> None:
    bad = X.copy()
    bad[3, 2], bad[7, 0] = np.nan, np.inf
    assert "2 of 200 numbers are not finite, the first at [3, 2]" in refusal(bad, LABELS)
    assert "x has 40, y has 39" in refusal(X, LABELS[:39])
    assert "labels go from -1 to 3" in refusal(X, np.where(LABELS == 0, -1, LABELS))
    assert "x: holds <U1 of shape [40]" in refusal(np.full(40, "a"), LABELS)
    assert "validation = 1.5: must be (x, y), or a fraction" in refusal(X, LABELS, validation=1.5)
    assert "test = 0.001: holds out 0 of 40 samples" in refusal(X, LABELS, test=0.001)
    assert "the inputs of test are [4], those of train [5]" in refusal(X, LABELS, test=(X[:, :4], LABELS))
    assert "holds no samples" in refusal(X[:0], LABELS[:0])
    assert "with 2 classes they must lie in 0 to 1" in refusal(X, LABELS, classes=("a", "b"))
    assert "validation: x" in refusal(X, LABELS, validation=(bad, LABELS))
    assert "label 1 is 9223372036854775807; labels go from -2147483648 to 2147483647" in refusal(
        X[:2], np.array([0, 2**63 - 1])
    )


def test_real_numbers_are_no_labels_of_named_classes() -> None:
    """Where nothing names classes they are targets of a regression, whole or not."""
    assert Dataset.from_arrays(X, LABELS.astype(np.float64)).info.outputs == 1
    said = "the targets of train are real numbers, and there are names of classes; give labels as whole numbers"
    names = ("a", "b", "c", "d")
    assert said in refusal(X, LABELS.astype(np.float64), classes=names)
    assert said in refusal(X, LABELS + 0.5, classes=names)
    assert said.replace("train", "test") in refusal(X, LABELS, classes=names, test=(X, LABELS.astype(np.float32)))
    assert "the targets of train are real numbers" in refusal(X, X[:, 0], test=(X, LABELS))
    floats = Table({"a": [1.0] * 20, "label": [0.0, 1.0] * 10}, label=ClassLabel)
    with pytest.raises(InputError, match="the targets of train are real numbers"):
        Dataset.from_huggingface(floats)
    with pytest.raises(InputError, match="the targets of train are real numbers"):
        Dataset.from_torch([(TorchTensor([1.0]), TorchTensor(i % 2 / 1)) for i in range(20)], classes=("a", "b"))


def test_no_label_is_changed_by_its_type() -> None:
    for wrong in (2**32, 2**31, -(2**31) - 1):
        with pytest.raises(InputError, match=f"y: label 1 is {wrong}; labels go from -2147483648 to 2147483647"):
            Split(X[:2], np.array([0, wrong]))
    with pytest.raises(InputError, match=f"y: label 0 is {2**64 - 1}"):
        Split(X[:1], np.array([2**64 - 1], np.uint64))


def test_one_wrong_label_does_not_make_a_class_of_every_number_below_it() -> None:
    assert "labels go from 0 to 1048576; number the classes from 0, to 1048575 at most" in refusal(
        X, np.where(LABELS == 3, 2**20, LABELS)
    )


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.array([["a"]] * 40), "holds <U1 of shape [40, 1], not words alone; give words [n]"),
        (np.array(["a", None] * 20, dtype=object), "holds object of shape [40], not words alone"),
        (np.array([1, 2] * 20, dtype=object), "holds object of shape [40], not words alone"),
        (np.array([{}] * 40, dtype=object), "holds object of shape [40], not words alone"),
        (np.array([b"\xff"] * 40), "y: holds words that are not UTF-8"),
    ],
)
def test_what_only_looks_like_words_is_refused(y: Any, said: str) -> None:
    assert said in refusal(X, y)


def test_words_may_be_bytes_and_of_any_length() -> None:
    long = "x" * 2**20
    words = np.array([long.encode(), "é".encode()] * 20, dtype=object)
    made = Dataset.from_arrays(X, words)
    assert made.classes == (long, "é")
    assert Dataset.from_arrays(X, np.array([b"b", b"a"] * 20)).classes == ("a", "b")


def test_numbers_that_are_not_finite_pass_where_that_is_said() -> None:
    bad = X.copy()
    bad[0, 1] = np.nan
    made = Dataset.from_arrays(bad, LABELS, allow_nan=True, validation=0.0)
    np.testing.assert_allclose(made.mean, np.nanmean(bad.astype(float), axis=0), rtol=1e-6)
    np.testing.assert_allclose(made.scale, 1.5 * np.nanstd(bad.astype(float), axis=0), rtol=1e-5)


def test_the_checksum_sees_every_target_and_its_type() -> None:
    parts = [np.zeros((20, 2)), np.zeros(20)]
    seen = {Dataset.from_arrays(*parts).checksum}
    for which, shape in ((0, (20, 2)), (1, (20,))):
        for place in np.ndindex(shape):
            changed = [part.copy() for part in parts]
            changed[which][place] = 1.0
            seen.add(Dataset.from_arrays(*changed).checksum)
    seen.add(Dataset.from_arrays(parts[0].astype(np.float32), parts[1]).checksum)
    seen.add(Dataset.from_arrays(parts[0], parts[1].astype(np.float32)).checksum)
    assert len(seen) == 1 + 40 + 20 + 2


@pytest.mark.parametrize(
    "made",
    [
        Dataset.from_arrays(X, LABELS),
        Dataset.from_arrays({"a": X, "b": X[:, 0]}, {"c": X, "d": X[:, 0]}),
        Dataset.from_arrays(X, X[:, 0], normalize=False),
    ],
)
def test_what_a_run_keeps_of_it_comes_back(made: Dataset) -> None:
    import json

    info = made.info
    back = DatasetInfo.from_mapping(json.loads(json.dumps(info.to_mapping())))
    assert back.to_mapping() == info.to_mapping()
    assert (back.input_shape, back.outputs, back.classes) == (info.input_shape, info.outputs, info.classes)
    assert set(info.checksums) == {"train", "validation", "test"}


class TorchTensor:
    """What `np.asarray` takes for an array, as it does a tensor."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self._values if dtype is None else self._values.astype(dtype)

    def numpy(self) -> np.ndarray:
        return self._values


def test_a_dataset_of_pytorch_is_read_as_pairs() -> None:
    images = np.random.default_rng(2).random((20, 3, 4, 5)).astype(np.float32)
    pairs = [(TorchTensor(image), i % 2) for i, image in enumerate(images)]
    made = Dataset.from_torch(pairs, validation=pairs[:4], normalize=False)
    np.testing.assert_array_equal(made.train.x, np.moveaxis(images, 1, -1))
    assert (len(made.train), len(made.validation), made.classes) == (20, 4, ("0", "1"))
    assert Dataset.from_torch(pairs, channels_last=False).input_shape == (3, 4, 5)
    tables = [(TorchTensor([1.0 * i, 2.0]), TorchTensor([0.5 * i])) for i in range(20)]
    assert Dataset.from_torch(tables).info.outputs == 1
    held = (images.transpose(0, 2, 3, 1)[:3], np.arange(3) % 2)
    np.testing.assert_array_equal(Dataset.from_torch(pairs, validation=held).validation.x, held[0])
    for wrong, said in ((iter(pairs), "map-style"), ([(1, 2, 3)], "element 0 is no pair"), ([], "holds nothing")):
        with pytest.raises(InputError, match=said):
            Dataset.from_torch(wrong)
    with pytest.raises(InputError, match=r"x: differs in shape: \[2\], \[3\]"):
        Dataset.from_torch([(TorchTensor([1.0, 2.0]), 0), (TorchTensor([1.0, 2.0, 3.0]), 1)])


class Table:
    """Answers as a `datasets.Dataset` does."""

    def __init__(self, columns: dict[str, list[Any]], **features: Any) -> None:
        self._columns = columns
        self.features = dict.fromkeys(columns) | features
        self.column_names = list(columns)

    def __getitem__(self, column: str) -> list[Any]:
        return self._columns[column]

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))


class ClassLabel:
    names = ("cat", "dog")


def test_a_dataset_of_hugging_face_is_read_by_its_columns() -> None:
    def table(n: int) -> Table:
        images = list(np.random.default_rng(n).integers(0, 256, (n, 4, 4), dtype=np.uint8))
        return Table({"image": images, "label": [i % 2 for i in range(n)], "size": [0.5] * n}, label=ClassLabel)

    made = Dataset.from_huggingface({"train": table(30), "test": table(10), "unsupervised": table(3)})
    assert (len(made.train), len(made.validation), len(made.test)) == (27, 3, 10)
    assert made.classes == ("cat", "dog")
    regression = Dataset.from_huggingface(table(30), x=["label", "size"], y="size")
    assert (regression.input_shape, regression.classes, regression.info.outputs) == ((2,), (), 1)
    numbers = Table({"a": [1.0] * 20, "b": [2.0] * 20, "label": [0, 1] * 10})
    assert Dataset.from_huggingface(numbers).input_shape == (2,)
    for options, said in (({"y": "colour"}, "y = 'colour': is no column"), ({"x": "colour"}, "x = 'colour'")):
        with pytest.raises(InputError, match=said):
            Dataset.from_huggingface(numbers, **options)
    with pytest.raises(InputError, match="there is no column label"):
        Dataset.from_huggingface(Table({"a": [1.0]}))
    with pytest.raises(InputError, match="has no split train, only other"):
        Dataset.from_huggingface({"other": numbers})
    streamed = SimpleNamespace(column_names=["a", "label"], features={})
    with pytest.raises(InputError, match=r"is a SimpleNamespace; give a datasets\.Dataset .*not streamed"):
        Dataset.from_huggingface(streamed)
