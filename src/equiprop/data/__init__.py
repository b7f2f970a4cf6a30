"""Datasets with checksums: what there is, where its files lie, how they are read, and the splits everyone shares.

    dataset = equiprop.data.load("digits")
    x = (dataset.train.x - dataset.mean) / dataset.scale

    dataset = equiprop.data.Dataset.from_arrays(x, y, validation=0.1)

NumPy only: nothing here imports JAX; scikit-learn, pooch, Pillow and DuckDB are imported when they are first needed.
"""

from equiprop.data._arrays import require_finite as require_finite
from equiprop.data._catalogue import DataFile as DataFile
from equiprop.data._catalogue import Entry as Entry
from equiprop.data._catalogue import entry as entry
from equiprop.data._catalogue import names as names
from equiprop.data._dataset import Dataset as Dataset
from equiprop.data._dataset import split_checksum as split_checksum
from equiprop.data._download import Progress as Progress
from equiprop.data._idx import read_idx as read_idx
from equiprop.data._info import DatasetInfo as DatasetInfo
from equiprop.data._inputs import read_inputs as read_inputs
from equiprop.data._load import load as load
from equiprop.data._load import load_split as load_split
from equiprop.data._room import require_room as require_room
from equiprop.data._shards import Shards as Shards
from equiprop.data._split import Split as Split
from equiprop.data._store import FileState as FileState
from equiprop.data._store import data_directory as data_directory
from equiprop.data._store import fetch as fetch
from equiprop.data._store import find as find
from equiprop.data._store import glance as glance
from equiprop.data._store import verify as verify
