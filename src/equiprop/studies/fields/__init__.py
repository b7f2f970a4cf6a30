"""Vector fields whose symmetry is not that of their weights, and a text to learn: what some studies train.

equiprop train --system equiprop.studies.fields:Attention --dataset equiprop.studies.fields:sentences
"""

from equiprop.studies.fields._attention import Attention as Attention
from equiprop.studies.fields._attention import AttentionBlock as AttentionBlock
from equiprop.studies.fields._gated import Gated as Gated
from equiprop.studies.fields._gated import GatedNetwork as GatedNetwork
from equiprop.studies.fields._sentences import entropy as entropy
from equiprop.studies.fields._sentences import sentences as sentences
