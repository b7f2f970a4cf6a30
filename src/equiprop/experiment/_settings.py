"""The settings of a run that belong to no family."""

import math

from equiprop.errors import InputError
from equiprop.numerics import Settings, constant, count, flag, text

PRECISIONS = ("float32", "tensorfloat32", "float64")


class TrainingSettings(Settings):
    """How long, in what pieces, on what and in what precision a system is trained."""

    epochs: int | str = count(
        "auto",
        "Passes through the training set; auto: 10, or as many as make 2,000 steps, but at most 100.",
        word="auto",
    )
    batch_size: int = count(50, "Samples a step.")
    micro_batches: int = count(
        1, "Parts that a batch is computed in, one after the other, to save memory; the gradient is the same."
    )
    devices: int = count(0, "Devices that a batch is spread over; 0 for all there are.", at_least=0)
    seed: int = count(0, "Of the weights, the order of samples and the probes.", at_least=0)
    seeds: int = count(
        1, "So many seeds side by side, seed and those that follow it, each a run of its own in a folder of this one."
    )
    precision: str = text(
        "float32",
        "float32, float64, or tensorfloat32: float32 in which products round their factors to ten bits where the device can, "
        "several times as fast there. A tolerance of 1e-4 is then out of reach; the documentation's page Benchmarks has what is "
        "not.",
    )
    start: str = text(
        "", "Run directory whose system is trained further, in place of a new one; DIR#best for its best system."
    )
    warm_start: bool = flag(
        False,
        "Start the free phase of a sample where its last one ended, kept in half precision: 2 bytes a unit and training sample, "
        "in every checkpoint.",
    )
    flip: bool = flag(False, "Mirror half of the training images, left to right, each time anew.")
    crop: int = count(
        0, "Shift each training image by up to so many pixels in either direction, each time anew.", at_least=0
    )
    cutout: int = count(
        0, "Set a square of so many pixels of each training image to its mean colour, each time elsewhere.", at_least=0
    )
    mixup: float = constant(
        0.0, "Train on mixtures of two samples, with a share drawn from Beta(a, a); 0 for none.", at_least=0
    )
    label_smoothing: float = constant(
        0.0, "The share of a target that is spread over all classes.", at_least=0, below=1
    )
    average: float = constant(
        0.0,
        "The share, such as 0.999, that an average of the parameters keeps in a step; that is then evaluated. 0 for none.",
        at_least=0,
        below=1,
    )
    patience: int = count(
        0, "Stop when validation has not improved for so many epochs; 0 to train all of them.", at_least=0
    )
    limit: int = count(0, "Use only the first so many training samples; 0 for all.", at_least=0)
    evaluation_limit: int = count(
        0,
        "Look only at the first so many validation samples, and of the test samples at the end; 0 for all.",
        at_least=0,
    )
    diagnostic_samples: int = count(
        200,
        "Validation samples on which the gradient is compared with the exact one after every epoch; 0 for never.",
        at_least=0,
    )

    audit_samples: int = count(
        16,
        "Samples of a training batch whose exact error vectors tell after every epoch how far its gradient is off; 0 for never.",
        at_least=0,
    )

    gradient_tolerance: float = constant(
        math.inf,
        "Largest bar of the gradient, against what the estimator tends to, that is good enough; above it the nudge or the "
        "tolerance of the solver is made smaller after the epoch, and that is said. inf: any.",
        above=0,
        word=math.inf,
    )

    def __check_init__(self) -> None:
        if self.seed >= 2**32:
            raise InputError("must be below 2^32, where JAX's keys begin anew", path="seed", value=self.seed)
        # Equinox looks at single settings after this.
        if self.micro_batches > 0 and self.batch_size % self.micro_batches:
            reason = f"must divide training.batch_size = {self.batch_size}"
            raise InputError(reason, path="micro_batches", value=self.micro_batches)
