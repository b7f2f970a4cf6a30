"""How a device holds complex numbers."""

import jax.numpy as jnp

from equiprop.errors import InputError
from equiprop.hardware._phase_coded import PhaseCoded
from equiprop.numerics import Number, Settings, choice, count, freeze, number
from equiprop.numerics.settings import defaults_of
from equiprop.systems import System

SCHEMES = ("two_units", "quadrature", "amplitude_phase")
_CARRIERS = ("quadrature", "amplitude_phase")
# What counts for some schemes alone.
_OF_SCHEMES = {"carrier": _CARRIERS, "harmonics": _CARRIERS, "floor": ("amplitude_phase",)}


class PhaseCoding(Settings):
    """A complex state z, which a complex nudge asks for, in real numbers that a device has.

    - `two_units`: z = a + ib as the states of two units.
    - `quadrature`: as two channels on one wire, which carries Re(r·e^(iΩt)), so that each weight serves both. What arrives, h, is
      told apart by mixing with the carrier, which leaves h + h̄·e^(−2iΩt), of which the unit averages the second term out.
    - `amplitude_phase`: on such a wire, as the amplitude and the phase of a carrier, z = A·e^(iθ), with Ȧ = Re(ż·e^(−iθ)) and
      θ̇ = A·Im(ż·e^(−iθ))/(A² + A₀²): a phase cannot be told of an amplitude of nothing.

    Mixers that are not alike, of gains 1 and 1 + ε and ϑ off the right angle, give of h the parts Re h and
    (1 + ε)·Im(e^(−iϑ)·h). Nothing of the two terms that are wrong is analytic in z, so that a circle of nudges does not take them
    off: they bend the response, by about 1/Ωτ if half of a circle is measured, and by its square if all of it is.
    """

    scheme: str = choice(
        "none",
        "How complex numbers are held; none: as complex numbers, which only a computer has.",
        "none",
        *SCHEMES,
    )
    carrier: Number = number(
        10.0,
        "Ω/2π, periods of the carrier in a unit of time: in that of the time constants.",
        above=0,
        needs=("scheme",),
    )
    harmonics: int = count(2, "Harmonics of 2Ω that states have while they ripple.", needs=("scheme",))
    gain_error: Number | None = number(
        0.0, "ε, by how much the gain of the second channel is larger.", above=-1, word=0.0, needs=("scheme",)
    )
    angle_error: Number | None = number(
        0.0, "ϑ, what is missing of a right angle between the two channels, in radians.", word=0.0, needs=("scheme",)
    )
    floor: Number = number(
        1e-3,
        "A₀, the amplitude below which a phase is hardly detected, in units of the state.",
        above=0,
        needs=("scheme",),
    )

    def __check_init__(self) -> None:
        usual = defaults_of(type(self))
        for name, schemes in _OF_SCHEMES.items():
            value = getattr(self, name)
            if self.scheme not in ("none", *schemes) and bool(jnp.any(jnp.asarray(value) != usual[name])):
                hint = f"leave it out, or {schemes[0]}"
                raise InputError(f"has no effect where the scheme is {self.scheme}", path=name, hint=hint)

    @property
    def is_off(self) -> bool:
        return self.scheme == "none"

    def of(self, system: System) -> PhaseCoded:
        """The system, or the chip, with states that are coded.

        Raises `InputError` for one that is coded already, whose wires or units lag by more than time constants, or, where
        numbers are mixed, that does not say what its leak is.
        """
        if self.is_off:
            raise InputError("codes nothing", path="scheme", value="none", hint=f"name one of {', '.join(SCHEMES)}")
        known = ("gain_error", "angle_error", *(n for n, schemes in _OF_SCHEMES.items() if self.scheme in schemes))
        sizes = {name: getattr(self, name) for name in known}
        harmonics = sizes.pop("harmonics", 0)
        given = {name: jnp.asarray(size) for name, size in sizes.items() if size is not None}
        return PhaseCoded.make(system, freeze(given), harmonics)
