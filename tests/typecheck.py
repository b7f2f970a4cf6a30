"""How types are checked in tests: as the typing rules say, where a whole number may stand for a real one."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
