"""How far from exact: alignment with the exact gradient, symmetry, the rotation certificate, stability, sources of error."""

from equiprop.diagnostics._alignment import Agreement as Agreement
from equiprop.diagnostics._alignment import Alignment as Alignment
from equiprop.diagnostics._alignment import agreement as agreement
from equiprop.diagnostics._alignment import alignment as alignment
from equiprop.diagnostics._alignment import parameter_names as parameter_names
from equiprop.diagnostics._analyticity import Analyticity as Analyticity
from equiprop.diagnostics._analyticity import Verdict as Verdict
from equiprop.diagnostics._analyticity import analyticity as analyticity
from equiprop.diagnostics._bias import BiasSplit as BiasSplit
from equiprop.diagnostics._bias import bias_split as bias_split
from equiprop.diagnostics._certificate import Certificate as Certificate
from equiprop.diagnostics._certificate import certificate as certificate
from equiprop.diagnostics._certificate import metric_cosine as metric_cosine
from equiprop.diagnostics._comparison import Row as Row
from equiprop.diagnostics._comparison import compare as compare
from equiprop.diagnostics._nudge_plane import NudgePlane as NudgePlane
from equiprop.diagnostics._nudge_plane import nudge_plane as nudge_plane
from equiprop.diagnostics._period import period as period
from equiprop.diagnostics._spectrum import Spectrum as Spectrum
from equiprop.diagnostics._spectrum import spectrum as spectrum
from equiprop.diagnostics._symmetry import Symmetry as Symmetry
from equiprop.diagnostics._symmetry import symmetry as symmetry
from equiprop.diagnostics._symmetry import weight_angle as weight_angle

# What the reference documents, and `equiprop` itself offers; the rest is for other packages.
__all__ = [
    "Agreement",
    "Alignment",
    "Analyticity",
    "BiasSplit",
    "Certificate",
    "NudgePlane",
    "Spectrum",
    "Symmetry",
    "agreement",
    "alignment",
    "analyticity",
    "bias_split",
    "certificate",
    "compare",
    "nudge_plane",
    "period",
    "spectrum",
    "symmetry",
    "weight_angle",
]
