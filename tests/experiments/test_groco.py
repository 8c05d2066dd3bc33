"""What the generic smoke test leaves out: who is compared with whom, in loops from the paper."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from experiments.contrastive import groco
from jssl import losses

CONFIG = replace(groco.SMOKE, counts=(2, 3), negatives=3)
Z = jax.random.normal(jax.random.key(0), (5, 8, 4))


def test_groco_has_every_view_as_anchor_and_the_other_full_ones_as_positives():
    options = {'negatives': 3, 'steepness': CONFIG.steepness}
    each = [
        losses.groco(z, jnp.stack([Z[p] for p in range(2) if p != anchor]), **options)
        for anchor, z in enumerate(Z)
    ]
    wanted = np.mean([loss.mean() for loss in each])
    np.testing.assert_allclose(groco.groco(CONFIG, Z), wanted, rtol=1e-5)


def slow_nt_xent(z, full, temperature, nearest):
    """All pairs of views of which one is full, against the views of other images."""
    z = np.asarray(z, np.float64)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    views, rows, _ = z.shape
    total = []
    for v in range(views):
        for w in range(views):
            if v == w or min(v, w) >= full:
                continue
            for b in range(rows):
                others = [z[u, c] @ z[v, b] for u in range(views) for c in range(rows) if c != b]
                others = np.exp(np.sort(others)[::-1][:nearest] / temperature)
                near = np.exp(z[w, b] @ z[v, b] / temperature)
                total.append(-np.log(near / (near + others.sum())))
    return np.mean(total)


def test_nt_xent_over_all_pairs_on_all_negatives_and_on_the_nearest():
    wanted = slow_nt_xent(Z, 2, CONFIG.temperature, None)
    np.testing.assert_allclose(groco.nt_xent(CONFIG, Z), wanted, rtol=1e-5)
    wanted = slow_nt_xent(Z, 2, CONFIG.nearest_temperature, 3)
    np.testing.assert_allclose(groco.nearest(CONFIG, Z), wanted, rtol=1e-5)
    two = losses.nt_xent(Z[0], Z[1], temperature=CONFIG.temperature).mean()
    np.testing.assert_allclose(groco.nt_xent(CONFIG, Z[:2]), two, rtol=1e-5)


def test_what_an_anchor_is_compared_with_gets_no_gradient():
    """Moving the other images changes the loss of a row, but only its own part is followed."""
    of_row = lambda z: losses.groco(z, Z[1:2], negatives=3)[0]
    gradient = jax.grad(of_row)(Z[0])
    assert np.abs(gradient[0]).max() > 0
    assert not np.abs(gradient[1:]).any()
