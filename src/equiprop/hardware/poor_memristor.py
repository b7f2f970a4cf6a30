"""Memristors that are hard to write."""

from typing import ClassVar

from equiprop.hardware._device import Device
from equiprop.hardware._update import Update
from equiprop.hardware.programming import Programming
from equiprop.numerics import part


class PoorMemristor(Device):
    """Filamentary resistive memory, as the exponential-step model of aihwkit is fitted to Gong et al. 2018.

    In units of full scale: pulses of 0.0017, by 0.14 of that smaller up than down, as the mean of twenty pulses of
    `ReRamESPresetDevice` from the middle of the range is without scatter (1.094 and 1.442 of its `dw_min` of 0.00135, aihwkit
    1.2.0: its `up_down` shortens the step down, its exponential term lengthens both). Gains of cells scatter by 0.2
    (`dw_min_dtod`) and single pulses by five times themselves (`dw_min_std`); what is held scatters by 75 `dw_min` about what
    was written, 0.1 (`write_noise_std`). That steps grow near one end is left out.
    """

    kind: ClassVar[str] = "poor_memristor"
    label: ClassVar[str] = "a poor memristor"
    citation: ClassVar[tuple[str, ...]] = (
        "Gong et al., Signal and noise extraction from analog memory elements for neuromorphic computing, Nat. Commun. 2018, "
        "doi:10.1038/s41467-018-04485-1",
        "Rasch et al., A flexible and fast PyTorch toolkit for simulating training and inference on analog crossbar arrays, "
        "AICAS 2021, arXiv:2104.02184",
    )

    programming: Programming = part(Programming, "Noise of writing.", noise=0.1)
    update: Update = part(Update, "What becomes of updates.", step=0.0017, asymmetry=-0.14, spread=0.2, variation=5.0)
