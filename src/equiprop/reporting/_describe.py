"""What a run was, in words: its method, its homeostasis, one sentence."""

from typing import Any

from equiprop.reporting._numbers import MISSING, fixed, number, percent, plain
from equiprop.reporting._run import Run
from equiprop.reporting._values import TOTAL, deviation, epochs_done, extreme, latest, section

_NUDGED = {"one_sided", "centered", "holomorphic", "continuous_time", "corrected", "dyadic"}
_READ_IN_0_1 = {
    "system": {"hidden": {"mlp", "loop"}, "preset": {"cnn"}, "weight_angle": {"mlp", "cnn"}},
    "estimator": {"nudge": _NUDGED, "points": {"holomorphic", "continuous_time", "corrected"}},
}
"""Which kinds read a setting in version 0.1, whose configurations hold the settings of all kinds."""


def estimator_label(run: Run) -> tuple[str, str]:
    """The estimator, and the settings it reads: `("holomorphic", "N=2, |β|=0.5")`."""
    return _kind(run, "estimator").replace("_", " "), _estimator_settings(run)


def homeostasis_label(run: Run) -> tuple[str, str]:
    """The homeostasis, and its strength: `("jacobian", "strength 0.1")`."""
    return _kind(run, "homeostasis").replace("_", " "), _strength(run)


def sentence(run: Run) -> str:
    """What was trained, how, and what came out, as one sentence that starts in lower case."""
    parts = [_system(run), "trained", _data(run), f"by {_method(run)}", _homeostasis(run)]
    return f"{' '.join(part for part in parts if part)}: {_outcome(run)}."


def outcome_of_selection(run: Run) -> str:
    """The validation-selected epoch and its test error, empty where the run has none."""
    epoch = number(latest(run, "best_epoch"))
    error = latest(run, "best_test_error_percent")
    if epoch is None or number(error) is None:
        return ""
    when = f"at epoch {epoch:g}, chosen" if _seeds(run) == 1 else "at the epochs that each seed chose"
    return f"{fixed(error, 2)} % {when} on the validation split"


def certificate(run: Run) -> str:
    """The rotation certificate, or why there is none; empty where the run does not say."""
    angle = number(latest(run, "certificate_angle_deg"))
    if angle is not None:
        mean = "" if _seeds(run) == 1 else ", in the mean over seeds,"
        return f"asymmetry rotates the error vector{mean} by at most {fixed(angle, 1)}° (in the inner product of −S)"
    reason = latest(run, "certificate_reason")
    return f"none: {reason}" if reason else ""


def trust(run: Run) -> str:
    """What the bar of the gradient means; empty where the run has none.

    An error shorter than the gradient itself leaves it within 90° of the exact one.
    """
    bar, cause = number(latest(run, "gradient_bar")), extreme(latest(run, "gradient_bar_causes"), smallest=False)
    if bar is None:
        return ""
    size = f"{fixed(100 * bar, 1)} %"
    mostly = f", mostly by {cause[0]}" if cause and cause[1] > 0 else ""
    if bar <= _RIGHT:
        return f"the gradient of a training batch is right to within {size}{mostly}"
    if bar < 1:
        return f"the gradient of a training batch may be off by {size} of its length{mostly}, and still points downhill"
    return f"the gradient of a training batch may be off by {size} of its length{mostly}: it need not point downhill"


_RIGHT = 0.1


def _seeds(run: Run) -> int:
    """How many seeds the numbers of a run are the means of."""
    seeds = latest(run, "seeds")
    return len(seeds) if isinstance(seeds, list) else 1


def _kind(run: Run, family: str) -> str:
    kind = section(run, family).get("kind") or latest(run, family)
    # A class of the user's own is called by its name.
    return str(kind).rpartition(":")[2] if kind else MISSING


def _label(run: Run, family: str) -> str:
    """How the run itself calls it in a sentence."""
    labels = run.manifest.get("labels")
    label = labels.get(family) if isinstance(labels, dict) else None
    return str(label) if label else _kind(run, family).replace("_", " ")


def _settings(run: Run, family: str) -> dict[str, Any]:
    """The settings that the chosen kind reads."""
    table = section(run, family)
    if isinstance(run.manifest.get("labels"), dict):
        return table
    # Without labels the run is of version 0.1, or has lost its manifest.
    readers, kind = _READ_IN_0_1[family], str(table.get("kind"))
    return {key: value for key, value in table.items() if key not in readers or kind in readers[key]}


def _estimator_settings(run: Run) -> str:
    table = _settings(run, "estimator")
    settings: list[str] = []
    for key, name in (("points", "N"), ("nudge", "|β|")):
        if number(table.get(key)) is not None:
            settings.append(f"{name}={plain(table[key])}")
    return ", ".join(settings)


def _system(run: Run) -> str:
    table = _settings(run, "system")
    if not table.get("kind"):
        return "a system"
    name = _label(run, "system")
    facts: list[str] = []
    hidden = table.get("hidden")
    if isinstance(hidden, list) and hidden:
        facts.append(f"{'–'.join(plain(width) for width in hidden)} hidden units")
    if table.get("preset"):
        facts.append(str(table["preset"]))
    angle = number(table.get("weight_angle"))
    if table.get("feedback", "untied") == "untied" and angle is not None:
        facts.append(f"feedback weights started {plain(angle)}° from the forward ones")
    article = "an" if name[:1].lower() in "aeiou" or name == "mlp" else "a"
    return f"{article} {name} ({', '.join(facts)})" if facts else f"{article} {name}"


def _data(run: Run) -> str:
    dataset = run.config.get("dataset") or latest(run, "dataset")
    return f"on {dataset}" if dataset else ""


def _method(run: Run) -> str:
    settings = _estimator_settings(run)
    known = _kind(run, "estimator") != MISSING
    name = _label(run, "estimator") if known else "an unknown estimator"
    return f"{name} ({settings})" if settings else name


def _homeostasis(run: Run) -> str:
    kind = _kind(run, "homeostasis")
    if kind == MISSING:
        return ""
    if kind == "none":
        return "without homeostasis"
    strength = _strength(run)
    return f"with {_label(run, 'homeostasis')} homeostasis{f' of {strength}' if strength else ''}"


def _strength(run: Run) -> str:
    strength = section(run, "homeostasis").get("strength")
    if _kind(run, "homeostasis") in ("none", MISSING):
        return ""
    if isinstance(strength, dict):
        if "hold" in strength:
            return f"strength held for {strength['hold']} {plain(strength.get('target'))}"
        return f"strength {plain(strength.get('from'))} to {plain(strength.get('to'))}"
    return "" if number(strength) is None else f"strength {plain(strength)}"


_JUDGED = (
    ("test_error_percent", " % test error"),
    ("test_loss", " test loss"),
    ("validation_error_percent", " % validation error"),
    ("validation_loss", " validation loss"),
)


def _outcome(run: Run) -> str:
    epochs = epochs_done(run)
    if epochs == 0:
        return "no epoch has ended yet"
    after = f"after {epochs} epoch{'' if epochs == 1 else 's'}"
    found: list[str] = []
    for key, said in _JUDGED:
        value, spread = latest(run, key), deviation(run, key)
        if number(value) is not None:
            digits = 2 if key.endswith("percent") else 4
            found.append(
                f"{fixed(value, digits)}{'' if spread is None else f' ± {fixed(spread, digits)}'}{said} {after}"
            )
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
