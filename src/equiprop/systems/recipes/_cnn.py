"""Chains of convolutions."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import as_key, choice, constant, text
from equiprop.systems._chains import Stage, convolutional
from equiprop.systems._layered import LayeredNetwork
from equiprop.systems.recipes._recipe import WEAK_FEEDBACK, AbstractRecipe, Shape, as_image, refuse_unused


@dataclass(frozen=True)
class Preset:
    """The layers of a convolutional chain, and how it starts so that it converges."""

    stages: tuple[Stage, ...]
    activation: str = "dsilu"
    gain: float = 1.0
    feedback_gain: float = 1.0


def _pooled(*channels: int) -> Preset:
    """Convolutions that keep the size and one that does not, each followed by pooling: two make 1 by 1 of 8 by 8."""
    return Preset((*(Stage(n, pool=2) for n in channels[:-1]), Stage(channels[-1], padding="valid", pool=2)))


def _deep(layers: int, feedback_gain: float) -> Preset:
    """One that pools by four, and residual ones of the same size.

    What a nudge of the output does to a layer falls by the feedback gain γ, times the forward gain g, with every layer below,
    and γ·g² must stay under a quarter for the chain to converge. Residual connections hold g near 1.
    """
    stages = (Stage(16, pool=4), *(Stage(16, residual=True) for _ in range(layers - 1)))
    return Preset(stages, activation="tanh", gain=0.5, feedback_gain=feedback_gain)


def _residual(width: int) -> Preset:
    """Thirteen layers, of `width` channels up to eight times as many: four of three, all but the first of each residual, and one.

    At this gain activities of all layers differ between images by 0.15 to 0.9.
    """
    stages = [Stage(width)]
    for channels in (width, 2 * width, 4 * width, 8 * width):
        widens = [Stage(channels, pool=2)] if channels > width else []
        stages += [*widens, Stage(channels, residual=True), Stage(channels, residual=True)]
    stages.append(Stage(8 * width, padding="valid", pool=2))
    return Preset(tuple(stages), activation="tanh", gain=2.0, feedback_gain=0.15)


PRESETS = {
    "published": _pooled(128, 256, 512, 512),
    "small": _pooled(16, 32, 64, 64),
    # At this gain an image of 8 by 8 is told from another, which by the published start it is not.
    "tiny": replace(_pooled(8, 16), activation="tanh", gain=1.5, feedback_gain=0.15),
    "deep_2": _deep(2, 0.15),
    "deep_5": _deep(5, 0.15),
    "deep_10": _deep(10, 0.15),
    "deep_15": _deep(15, 0.15),
    "deep_20": _deep(20, 0.2),
    "residual_13": _residual(64),
    "residual_13_small": _residual(8),
}
"""Convolutional chains by name: that of arXiv 2309.02214 for images of 32 by 32, one of an eighth of its width, one for images of
8 by 8, deep ones, and thirteen layers that widen as they shrink, at full and at an eighth of the width."""


class CNN(AbstractRecipe):
    """A chain of convolutions and softmax pooling; what leads back is the transpose of convolutions and pooling of its own."""

    kind: ClassVar[str] = "cnn"

    preset: str = choice(
        "published",
        "published (128, 256, 512 and 512 channels), small (16, 32, 64 and 64), tiny (8 and 16, for images of 8 by 8), or "
        "deep_2, deep_5, deep_10, deep_15 and deep_20 (as many layers, all but the first residual), or residual_13 (64 to 512 "
        "channels) and residual_13_small (8 to 64).",
        *PRESETS,
    )
    activation: str = text(
        "auto", "As of mlp; auto: that of the preset, dsilu, or tanh where it is tiny, deep or residual."
    )
    feedback: str = choice(
        "untied",
        "Weights that lead back: untied (of their own), tied (the transpose) or none.",
        "untied",
        "tied",
        "none",
    )
    weight_angle: float = constant(90.0, "Initial angle in degrees between feedback and forward weights where untied.")
    feedback_gain: float | str = constant(
        "auto",
        "Factor on all feedback, as of mlp; auto: that of the preset, 1, or 0.15 to 0.2 where it is tiny, deep or residual.",
        word="auto",
        above=0,
    )
    cost: str = text(
        "softmax_readout", "softmax_readout (trainable), softmax_cross_entropy or squared_error; or file.py:Class."
    )
    gain: float | str = constant(
        "auto",
        "Weights start uniform in ±gain/√inputs; auto: that of the preset, 1, or 1.5 where it is tiny, 0.5 deep, 2 residual.",
        word="auto",
        above=0,
    )

    def cited(self) -> tuple[str, ...]:
        weak = self.feedback != "none" and self.feedback_gain not in (1, "auto")
        return *super().cited(), *((WEAK_FEEDBACK,) if weak else ())

    def create(self, inputs: Shape, outputs: int, *, key: PRNGKeyArray, dtype: Any = None) -> LayeredNetwork:
        preset = PRESETS[self.preset]
        feedback_gain = preset.feedback_gain if self.feedback_gain == "auto" else self.feedback_gain
        assert not isinstance(feedback_gain, str)
        if self.feedback == "none":
            refuse_unused(self, "feedback_gain", "is not used by feedback = 'none'")
        try:
            topology = convolutional(
                as_image(inputs),
                preset.stages,
                activation=preset.activation if self.activation == "auto" else self.activation,
                feedback=self.feedback,
                angle=self.weight_angle,
                feedback_gain=1.0 if self.feedback == "none" else feedback_gain,
            )
        except InputError as error:
            raise error.innermost({"angle": "weight_angle"}) from None
        gain = preset.gain if self.gain == "auto" else self.gain
        assert not isinstance(gain, str)
        return LayeredNetwork.create(topology, classes=outputs, key=key, cost=self.cost, gain=gain, dtype=dtype)


def cnn(
    image: tuple[int, int, int], classes: int, *, key: PRNGKeyArray | int, dtype: Any = None, **settings: Any
) -> LayeredNetwork:
    """A chain of convolutions and softmax pooling; what leads back is the transpose of convolutions and pooling of its own.

    **Arguments:**

    - `image`: height, width and channels.
    - `key`: of the first weights; or a seed.
    - `settings`: the fields of `CNN`: `preset`, `activation`, `feedback`, `weight_angle`, `feedback_gain`, `cost`, `gain`.
    """
    return CNN(**settings).create(image, classes, key=as_key(key), dtype=dtype)
