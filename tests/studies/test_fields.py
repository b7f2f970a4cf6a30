"""The vector fields of the studies: against finite differences, complex ones too, and an energy; the text against its grammar."""

import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.diagnostics import symmetry
from equiprop.solvers import GaussSeidel, Jacobi, relax
from equiprop.studies.fields import Attention, Gated, entropy, sentences
from equiprop.studies.fields._sentences import LETTERS, _sentence
from equiprop.systems import is_holomorphic

KEY = jax.random.key(3)
X = jax.random.normal(jax.random.key(1), (2, 5, 3))
MADE = {
    "gated": Gated(width=4).create((5, 3), 3, key=KEY),
    "gated, equal weights": Gated(width=4, weight_angle=0.0).create((5, 3), 3, key=KEY),
    "attention": Attention(width=4, hidden=6).create((5, 3), 3, key=KEY),
    "attention, equal weights": Attention(width=4, hidden=6, weight_angle=0.0, read="mean").create((5, 3), 3, key=KEY),
    "energy": Attention(width=4, hidden=6, energy=True).create((5, 3), 3, key=KEY),
}


@pytest.mark.parametrize("name", MADE)
def test_force_is_holomorphic(name):
    """A derivative that complex differences along any direction agree with."""
    system = MADE[name]
    state = relax(system, X, Jacobi(damping=0.5, max_steps=1000)).state
    injection = system.injection(X)
    flat, back = jax.flatten_util.ravel_pytree(state)
    direction = np.random.default_rng(0).normal(size=flat.shape)
    _, wanted = jax.jvp(
        lambda u: jax.flatten_util.ravel_pytree(system.force(back(u), injection))[0], (flat,), (direction,)
    )

    def force(z):
        leaves, structure = jax.tree.flatten(state)
        sizes = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = zip(np.split(z, sizes), leaves, strict=True)
        moved = jax.tree.unflatten(structure, [jnp.asarray(part).reshape(leaf.shape) for part, leaf in parts])
        return np.concatenate([np.ravel(f) for f in jax.tree.leaves(system.force(moved, injection))])

    for turn in (1.0, 1j, np.exp(0.7j)):
        step = 1e-6 * turn
        found = (force(np.asarray(flat) + step * direction) - force(np.asarray(flat) - step * direction)) / (2 * step)
        np.testing.assert_allclose(found, wanted, atol=1e-8)
    assert is_holomorphic(system, X)


def test_only_an_energy_has_a_symmetric_jacobian():
    """Equal weights do not make one: the coupling of a gate, and of who looks at whom, depends on the state."""
    found = {}
    for name, system in MADE.items():
        free = relax(system, X, Jacobi(damping=0.5, max_steps=1000, tolerance=1e-10))
        assert free.converged.all()
        found[name] = float(symmetry(system, X, free.state, probes=0).symmetry)
    assert found["energy"] == pytest.approx(1, abs=1e-9)
    assert found["gated"] < found["gated, equal weights"] < 0.99
    assert found["attention"] < found["attention, equal weights"] < 0.99


def test_tokens_descend_their_energy():
    system = MADE["energy"]
    r = jnp.tanh(jax.random.normal(KEY, (2, 5, 4)))

    def energy(r):
        q, k = r @ system.weights["query"], r @ system.weights["key"]
        return -(4**0.5) * jax.nn.logsumexp(jnp.einsum("bid,bjd->bij", q, k) / 4**0.5, axis=-1).sum()

    np.testing.assert_allclose(system._attended(r), -jax.grad(energy)(r), atol=1e-12)


def test_blocks_of_the_gated_network_do_not_act_on_themselves():
    system = MADE["gated"]
    ours, theirs = (relax(system, X, solver(tolerance=1e-10, max_steps=2000)).state for solver in (GaussSeidel, Jacobi))
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-8)


@pytest.mark.slow
def test_entropy_of_the_source():
    """What choices were made, counted: the entropy of whole sentences, and their length."""
    rng, n = np.random.default_rng(0), 200_000
    made = [" ".join(_sentence(rng)) for _ in range(n)]
    letters = np.mean([len(each) + 2 for each in made])
    # The first two words are few enough for their entropy to be counted.
    counts = np.asarray(list(Counter(each.split()[0] for each in made).values())) / n
    words = {"the": 2 / 8, **dict.fromkeys(("a", "this", "one", "some", "these", "two"), 1 / 8)}
    wanted = -sum(p * math.log(p) for p in words.values())
    assert -np.sum(counts * np.log(counts)) == pytest.approx(wanted, abs=1e-3)
    # A sentence tells its choices: of so many, hardly any is made twice but the short ones.
    nats = entropy() * letters
    rate = np.mean([_surprise(each) for each in made[:20_000]])
    assert rate == pytest.approx(nats, rel=2e-3)


def _surprise(sentence: str) -> float:
    """−log of the probability of a sentence, told from its words."""
    from equiprop.studies.fields import _sentences as g

    words, nats = sentence.split(), 0.0

    def phrase() -> int:
        nonlocal nats
        words.pop(0)
        nats += math.log(2) + math.log(4)
        described = words[0] in g._ADJECTIVES
        nats -= math.log(g._DESCRIBED if described else 1 - g._DESCRIBED)
        if described:
            words.pop(0)
            nats += math.log(6)
        noun = words.pop(0)
        nats += math.log(10)
        return int(noun in g._PLURALS)

    number = phrase()
    near = words[0] == "near"
    nats -= math.log(g._NEAR if near else 1 - g._NEAR)
    if near:
        words.pop(0)
        phrase()
    assert words.pop(0) in g._VERBS[number]
    nats += math.log(6)
    adverbs = [each.split() for each in g._ADVERBS]
    acts = bool(words) and words not in adverbs
    nats -= math.log(1 - g._ALONE if acts else g._ALONE)
    if acts:
        phrase()
    nats -= math.log(g._QUALIFIED if words else 1 - g._QUALIFIED)
    return nats + (math.log(4) if words else 0)


def test_windows_are_followed_by_their_class():
    data = sentences()
    assert data.info.classes == tuple(LETTERS) and data.train.x.shape[1:] == (16, len(LETTERS))
    places = np.asarray(data.train.x).argmax(axis=2)
    # The window after the next holds the class as its last character.
    assert (np.asarray(data.train.y)[:-1] == places[1:, -1]).all()
    text = "".join(LETTERS[i] for i in places[::16].ravel()[:400])
    assert ". " in text and " near " in text
