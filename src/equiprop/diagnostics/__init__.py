"""How far from exact: alignment with the exact gradient, symmetry of the Jacobian, angles between weights."""

from equiprop.diagnostics.alignment import Alignment as Alignment
from equiprop.diagnostics.alignment import alignment as alignment
from equiprop.diagnostics.alignment import parameter_names as parameter_names
from equiprop.diagnostics.alignment import tree_cosine as tree_cosine
from equiprop.diagnostics.comparison import Row as Row
from equiprop.diagnostics.comparison import compare as compare
from equiprop.diagnostics.symmetry import Symmetry as Symmetry
from equiprop.diagnostics.symmetry import symmetry as symmetry
from equiprop.diagnostics.symmetry import weight_angle as weight_angle
