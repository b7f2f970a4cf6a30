"""What things cost: the same work done in several ways, timed side by side."""

from equiprop.benchmarking.baselines import feedforward as feedforward
from equiprop.benchmarking.baselines import plain as plain
from equiprop.benchmarking.cases import CASES as CASES
from equiprop.benchmarking.cases import cases as cases
from equiprop.benchmarking.timing import Case as Case
from equiprop.benchmarking.timing import Timing as Timing
from equiprop.benchmarking.timing import measure as measure
from equiprop.benchmarking.timing import program_bytes as program_bytes
