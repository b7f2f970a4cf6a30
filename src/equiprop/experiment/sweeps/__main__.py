"""A worker of a sweep, in a process of its own: `python -m equiprop.experiment.sweeps FOLDER/sweep.toml`."""

import sys

from equiprop._interrupts import end_in_time
from equiprop.errors import EquipropError
from equiprop.experiment.sweeps._executors import work

if __name__ == "__main__":
    end_in_time()
    try:
        work(sys.argv[1])
    except EquipropError as error:
        sys.exit(str(error))
