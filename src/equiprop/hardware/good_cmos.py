"""A neuromorphic chip in CMOS."""

from typing import ClassVar

from equiprop.hardware._device import Device
from equiprop.hardware._inputs import Inputs
from equiprop.hardware._readout import Readout
from equiprop.hardware.quantisation import Quantisation
from equiprop.numerics import part


class GoodCMOS(Device):
    """The resolutions of BrainScaleS-2 as an analog multiplier: weights of 6 bits, inputs of 5, activities read with 8.

    Weis et al. (2020, arXiv 2006.13177) name these beside fixed-pattern noise and variation from trial to trial. What is left of
    mismatch and noise depends on the calibration: set `mismatch.gain` and `readout.noise` to what is measured.
    """

    kind: ClassVar[str] = "good_cmos"
    label: ClassVar[str] = "a good CMOS chip"
    citation: ClassVar[tuple[str, ...]] = (
        "Weis et al., Inference with artificial neural networks on analog neuromorphic hardware, 2020, arXiv:2006.13177",
    )

    quantisation: Quantisation = part(Quantisation, "Levels of weights.", bits=6)
    inputs: Inputs = part(Inputs, "Converters of inputs.", bits=5)
    readout: Readout = part(Readout, "Noise and converters of what is read.", bits=8)
