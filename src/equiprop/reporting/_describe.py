"""What a run was, in words: its method, its treatment, one sentence."""

from equiprop.reporting._numbers import MISSING, fixed, number, percent, plain
from equiprop.reporting._run import Run
from equiprop.reporting._values import TOTAL, epochs_done, extreme, latest, section

_ESTIMATORS = {
    "one_sided": "one-sided equilibrium propagation",
    "centered": "centred equilibrium propagation",
    "holomorphic": "holomorphic equilibrium propagation",
    "continuous_time": "continuous-time equilibrium propagation",
    "corrected": "asymmetry-corrected equilibrium propagation",
    "dyadic": "dyadic equilibrium propagation",
    "exact_response": "the exact response (equilibrium propagation at vanishing nudge)",
    "adjoint": "the exact adjoint gradient",
    "recurrent_backprop": "recurrent backpropagation",
    "neumann": "the Neumann series of the adjoint",
    "unrolled": "backpropagation through the unrolled relaxation",
}
# The configuration is complete, so it also holds settings that a method does not read.
_NUDGED = frozenset({"one_sided", "centered", "holomorphic", "continuous_time", "corrected", "dyadic"})
_ARTICLES = {"mlp": "an"}
_WITH_HIDDEN = frozenset({"mlp", "loop"})
_WITH_ANGLE = frozenset({"mlp", "cnn"})
_WITH_POINTS = frozenset({"holomorphic", "continuous_time", "corrected"})


def estimator_label(run: Run) -> tuple[str, str]:
    """The estimator, and the settings it reads: `("holomorphic", "N=2, |β|=0.5")`."""
    return _kind(run, "estimator").replace("_", " "), _estimator_settings(run)


def homeostasis_label(run: Run) -> tuple[str, str]:
    """The treatment, and its strength: `("jacobian", "strength 0.1")`."""
    return _kind(run, "homeostasis").replace("_", " "), _strength(run)


def sentence(run: Run) -> str:
    """What was trained, how, and what came out, as one sentence that starts in lower case."""
    parts = [_system(run), "trained", _data(run), f"by {_method(run)}", _treatment(run)]
    return f"{' '.join(part for part in parts if part)}: {_outcome(run)}."


def outcome_of_selection(run: Run) -> str:
    """The validation-selected epoch and its test error, empty where the run has none."""
    epoch = number(latest(run, "best_epoch"))
    error = latest(run, "best_test_error_percent")
    if epoch is None or number(error) is None:
        return ""
    return f"{fixed(error, 2)} % at epoch {epoch:g}, chosen on the validation split"


def certificate(run: Run) -> str:
    """The rotation certificate, or why there is none; empty where the run does not say."""
    angle = number(latest(run, "certificate_angle_deg"))
    if angle is not None:
        return f"asymmetry rotates the error vector by at most {fixed(angle, 1)}° (in the inner product of −S)"
    reason = latest(run, "certificate_reason")
    return f"none: {reason}" if reason else ""


def _kind(run: Run, family: str) -> str:
    kind = section(run, family).get("kind") or latest(run, family)
    return str(kind) if kind else MISSING


def _estimator_settings(run: Run) -> str:
    kind, table = _kind(run, "estimator"), section(run, "estimator")
    settings: list[str] = []
    if kind in _WITH_POINTS and number(table.get("points")) is not None:
        settings.append(f"N={plain(table['points'])}")
    if kind in _NUDGED and number(table.get("nudge")) is not None:
        settings.append(f"|β|={plain(table['nudge'])}")
    return ", ".join(settings)


def _system(run: Run) -> str:
    table = section(run, "system")
    kind = table.get("kind")
    if not kind:
        return "a network"
    name = f"{_ARTICLES.get(str(kind), 'a')} {kind}"
    facts: list[str] = []
    hidden = table.get("hidden")
    if kind in _WITH_HIDDEN and isinstance(hidden, list) and hidden:
        facts.append(f"{'–'.join(plain(width) for width in hidden)} hidden units")
    if kind == "cnn" and table.get("preset"):
        facts.append(str(table["preset"]))
    angle = number(table.get("weight_angle"))
    if kind in _WITH_ANGLE and table.get("feedback", "untied") == "untied" and angle is not None:
        facts.append(f"feedback weights started {plain(angle)}° from the forward ones")
    return f"{name} ({', '.join(facts)})" if facts else name


def _data(run: Run) -> str:
    dataset = run.config.get("dataset") or latest(run, "dataset")
    return f"on {dataset}" if dataset else ""


def _method(run: Run) -> str:
    kind = _kind(run, "estimator")
    settings = _estimator_settings(run)
    name = _ESTIMATORS.get(kind, "an unknown estimator" if kind == MISSING else kind.replace("_", " "))
    return f"{name} ({settings})" if settings else name


def _treatment(run: Run) -> str:
    kind = _kind(run, "homeostasis")
    if kind == MISSING:
        return ""
    if kind == "none":
        return "without homeostasis"
    strength = _strength(run)
    return f"with {kind.replace('_', ' ')} homeostasis{f' of {strength}' if strength else ''}"


def _strength(run: Run) -> str:
    strength = section(run, "homeostasis").get("strength")
    untreated = _kind(run, "homeostasis") in ("none", MISSING)
    return "" if untreated or number(strength) is None else f"strength {plain(strength)}"


def _outcome(run: Run) -> str:
    epochs = epochs_done(run)
    if epochs == 0:
        return "no epoch has ended yet"
    after = f"after {epochs} epoch{'' if epochs == 1 else 's'}"
    found: list[str] = []
    for key, split in (("test_error_percent", "test"), ("validation_error_percent", "validation")):
        error = latest(run, key)
        if number(error) is not None:
            found.append(f"{fixed(error, 2)} % {split} error {after}")
            break
    cosines = latest(run, "cosine_to_adjoint")
    total = cosines.get(TOTAL) if isinstance(cosines, dict) else None
    if number(total) is not None:
        found.append(f"summed gradient at cosine {fixed(total, 3)} to the exact one")
    angle = extreme(latest(run, "weight_angle_deg"), smallest=False)
    if angle is not None:
        found.append(f"largest weight angle {fixed(angle[1], 1)}°")
    converged = latest(run, "converged_fraction")
    if number(converged) is not None:
        found.append(f"{percent(converged, 1)} % of samples converged")
    excluded = number(latest(run, "excluded_fraction"))
    if excluded is not None and excluded >= 0.0005:
        found.append(f"{percent(excluded, 1)} % excluded from the gradient")
    return ", ".join(found) if found else f"no result recorded {after}"
