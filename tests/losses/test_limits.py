"""Values that are known without computing: limits, special cases, and relations between losses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jssl import losses


@pytest.fixture
def pair():
    keys = jax.random.split(jax.random.key(0))
    return tuple(np.asarray(jax.random.normal(key, (8, 4))) for key in keys)


def close(actual, expected, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def slope(function):
    return jax.jit(jax.grad(function))


def finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def test_orthogonal_pairs_have_known_contrastive_losses():
    z = jnp.eye(8)
    e = np.exp(1 / 0.5)
    close(losses.info_nce(z, z, temperature=0.5), np.full(8, np.log((e + 7) / e)))
    close(losses.nt_xent(z, z, temperature=0.5), np.full(16, np.log((e + 14) / e)))
    close(losses.decoupled_contrastive(z, z, temperature=0.5), np.full(16, np.log(14) - 2))
    close(losses.clip(z, z, logit_scale=2.0), np.full(8, np.log((e + 7) / e)))
    own, other = np.log1p(np.exp(-1)), np.log1p(np.exp(-1))
    close(losses.siglip(z, z, logit_scale=2.0, logit_bias=-1.0), np.full(8, own + 7 * other))


def test_queue_replaces_the_negatives_of_the_batch(pair):
    q, k = pair
    far = losses.info_nce(q, k, negatives=-q[:1])
    moved = losses.info_nce(
        q, k * np.where(np.arange(8) == 1, -1, 1)[:, None].astype(k.dtype), negatives=-q[:1]
    )
    close(np.delete(far, 1), np.delete(moved, 1))


def test_nt_xent_equals_optax(pair):
    image = jnp.tile(jnp.arange(8), 2)
    expected = optax.losses.ntxent(jnp.concatenate(pair), image, temperature=0.1)
    close(losses.nt_xent(*pair, temperature=0.1).mean(), expected)


def test_sup_con_of_pairs_is_nt_xent(pair):
    z, labels = jnp.concatenate(pair), jnp.tile(jnp.arange(8), 2)
    close(losses.sup_con(z, labels), losses.nt_xent(*pair))


def test_sup_con_is_zero_without_positives(pair):
    value, gradient = jax.jit(jax.value_and_grad(lambda z: losses.sup_con(z, jnp.arange(8)).sum()))(
        pair[0]
    )
    assert value == 0
    assert not gradient.any()


def test_clip_is_info_nce_both_ways(pair):
    there, back = (losses.info_nce(*views, temperature=0.2) for views in (pair, pair[::-1]))
    close(losses.clip(*pair, logit_scale=5.0), (there + back) / 2)


def test_decoupled_weights_average_one_and_vanish_with_wide_sigma(pair):
    plain = losses.decoupled_contrastive(*pair)
    close(losses.decoupled_contrastive(*pair, sigma=1e6), plain, atol=1e-4)
    with pytest.raises(ValueError, match='z1 must have at least 2 rows'):
        losses.decoupled_contrastive(pair[0][:1], pair[1][:1])


def test_enqueue_keeps_the_newest_first():
    queue = jnp.arange(4.0)[:, None]
    close(losses.enqueue(queue, jnp.array([[8.0], [9.0]]))[:, 0], [8, 9, 0, 1])
    close(losses.enqueue(queue, jnp.arange(10.0, 16.0)[:, None])[:, 0], [10, 11, 12, 13])
    assert losses.enqueue(queue.astype(jnp.bfloat16), queue).dtype == jnp.bfloat16


def test_whitened_views_have_no_redundancy():
    z = jnp.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    close(losses.barlow_twins(z, z), 0, atol=1e-8)
    close(losses.vicreg(z, z), 0, atol=1e-8)
    close(losses.vicreg(0 * z, 0 * z), 2 * 25 * (1 - 0.01))  # collapse costs the whole variance


def test_cosine_regression_is_zero_at_the_target_and_four_opposite(pair):
    p = pair[0]
    close(losses.cosine_regression(3 * p, p), np.zeros(8))
    close(losses.cosine_regression(-p, p), np.full(8, 4.0))
    assert not jax.grad(lambda z: losses.cosine_regression(p, z).sum())(pair[1]).any()


def test_distillation_is_stationary_at_the_teacher(pair):
    gradient = jax.grad(lambda s: losses.distil(s, pair[0], temperature=4.0).sum())(pair[0])
    close(gradient, np.zeros((8, 4)), atol=1e-6)
    close(losses.distil(pair[0], pair[0]), losses.entropy(pair[0]))


def test_dino_center_converges_to_the_mean(pair):
    center = jnp.zeros(4)
    for _ in range(200):
        center = losses.dino_center(center, pair[0])
    close(center, pair[0].mean(0))


def test_swapped_prediction_never_compares_a_view_with_its_own_code():
    scores = jax.random.normal(jax.random.key(0), (2, 8, 4))
    codes = jax.nn.softmax(scores)
    both = losses.swapped_prediction(scores, codes)
    close(both, losses.swapped_prediction(scores[::-1], codes[::-1]))
    first = losses.swapped_prediction(scores, codes[:1])
    close(first, losses.swapped_prediction(scores.at[0].set(0.0), codes[:1]))
    with pytest.raises(ValueError, match='scores need 2 views'):
        losses.swapped_prediction(scores[:1], codes[:1])


def test_masks_that_choose_nothing(pair):
    patches = jnp.ones((2, 4, 3))
    assert not losses.masked_reconstruction(patches, 2 * patches, jnp.zeros((2, 4))).any()
    one = jnp.arange(4) == 0
    assert not losses.pairwise_ranking(*pair, jnp.broadcast_to(one, (8, 4))).any()
    all_of_them = losses.masked_reconstruction(patches, 3 * patches, jnp.ones((2, 4), bool))
    close(all_of_them, [4.0, 4.0])


def test_unmasked_patches_do_not_matter():
    prediction, target = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))
    mask = jnp.arange(5)[None, :] < jnp.array([[1], [3], [5]])
    changed = jnp.where(mask[:, :, None], prediction, 1e3)
    close(
        losses.masked_reconstruction(changed, target, mask),
        losses.masked_reconstruction(prediction, target, mask),
    )


def test_pixels_may_be_integers():
    pixels = jax.random.randint(jax.random.key(0), (2, 5, 12), 0, 256).astype(jnp.uint8)
    normal = losses.normalise_patches(pixels)
    close(normal.mean(-1), np.zeros((2, 5)))
    close(normal.var(-1, ddof=1), np.ones((2, 5)))
    with pytest.raises(AssertionError):
        losses.normalise_patches(pixels[..., :1])


def test_ranking_sees_order_and_not_size():
    prediction, target = jnp.array([[0.0, 1, 2]]), jnp.array([[1.0, 5, 100]])
    mask = jnp.ones((1, 3), bool)
    close(
        losses.pairwise_ranking(prediction, target, mask),
        losses.pairwise_ranking(prediction, jnp.log(target), mask),
    )
    assert losses.pairwise_ranking(50 * prediction, target, mask) < 1e-6
    assert losses.pairwise_ranking(-50 * prediction, target, mask) > 10


def test_ruled_out_classes():
    logits = jnp.array([[0.0, 1.0, -jnp.inf]])
    close(losses.entropy(logits), losses.entropy(logits[:, :2]))
    assert finite(slope(lambda x: losses.entropy(x).sum())(logits))
    close(losses.distil(logits, logits), losses.entropy(logits))
    assert finite(slope(lambda x: losses.distil(x, logits).sum())(logits))
    label = jnp.array([1])
    close(losses.cross_entropy(logits, label), losses.cross_entropy(logits[:, :2], label))
    assert finite(slope(lambda x: losses.cross_entropy(x, label).sum())(logits))


def test_entropy_is_between_zero_and_log_classes():
    close(losses.entropy(jnp.zeros((1, 7))), [np.log(7)])
    close(losses.entropy(jnp.array([[0.0, 1e4, 0.0]])), [0.0])


def test_penalties_count_floating_leaves_only():
    params = {
        'kernel': jnp.array([[1.0, -2.0]]),
        'bias': jnp.array([3.0], jnp.bfloat16),
        'steps': jnp.array(100),
        'key': jax.random.key(0),
    }
    assert losses.l1(params) == 6
    assert losses.l2(params) == 14
    kernel = {'kernel': jnp.zeros(3)}
    assert not jax.grad(losses.l1)(kernel)['kernel'].any()
