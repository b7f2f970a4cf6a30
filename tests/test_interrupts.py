"""What a command is at for long is named, again after twice the time, and nothing else is."""

import subprocess
import sys

PROGRAM = """
import time
from equiprop import _interrupts
_interrupts._SILENT_SECONDS = 0.7
_interrupts.end_in_time()
with _interrupts.doing("a training"):
    for step in range(8):
        with _interrupts.doing(f"step {step}"):
            time.sleep(0.1)
        time.sleep(0.15)
    with _interrupts.doing("the comparison"):
        time.sleep(3.8)
"""


def test_what_lasts_is_named_where_it_waits() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    # At 0.7 s, 1.4 s and 2.8 s of one thing; steps that end, and what is between them, are none.
    said = done.stderr.splitlines()
    at = "equiprop: still in a training, the comparison, for 0 minutes"
    assert said == [f"{at}; to compile a large system may take as long, and Ctrl-C ends it"] * 3
