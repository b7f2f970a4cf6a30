"""How far from exact: alignment with the exact gradient, symmetry, the rotation certificate, stability, sources of error."""

from equiprop.diagnostics.alignment import Alignment as Alignment
from equiprop.diagnostics.alignment import alignment as alignment
from equiprop.diagnostics.alignment import parameter_names as parameter_names
from equiprop.diagnostics.alignment import tree_cosine as tree_cosine
from equiprop.diagnostics.analyticity import Analyticity as Analyticity
from equiprop.diagnostics.analyticity import Verdict as Verdict
from equiprop.diagnostics.analyticity import analyticity as analyticity
from equiprop.diagnostics.bias import BiasSplit as BiasSplit
from equiprop.diagnostics.bias import bias_split as bias_split
from equiprop.diagnostics.certificate import Certificate as Certificate
from equiprop.diagnostics.certificate import certificate as certificate
from equiprop.diagnostics.comparison import Row as Row
from equiprop.diagnostics.comparison import compare as compare
from equiprop.diagnostics.period import period as period
from equiprop.diagnostics.spectrum import Spectrum as Spectrum
from equiprop.diagnostics.spectrum import spectrum as spectrum
from equiprop.diagnostics.symmetry import Symmetry as Symmetry
from equiprop.diagnostics.symmetry import symmetry as symmetry
from equiprop.diagnostics.symmetry import weight_angle as weight_angle
