"""Values that are known without computing: limits, special cases, and relations between losses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jssl import losses

from . import sorting


@pytest.fixture
def pair():
    keys = jax.random.split(jax.random.key(0))
    return tuple(np.asarray(jax.random.normal(key, (8, 4))) for key in keys)


def close(actual, expected, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def agree(both, *arguments):
    """The two results of one program are close."""
    close(*jax.jit(both)(*arguments))


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
    expected = lambda z: optax.losses.ntxent(jnp.concatenate(z), image, temperature=0.1)
    agree(lambda z: (losses.nt_xent(*z, temperature=0.1).mean(), expected(z)), pair)


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
    gradient = slope(lambda s: losses.distil(s, pair[0], temperature=4.0).sum())(pair[0])
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
    patches, none = np.ones((2, 4, 3), np.float32), np.zeros((2, 4), bool)
    reconstruction = jax.jit(losses.masked_reconstruction)
    assert not reconstruction(patches, 2 * patches, none).any()
    close(reconstruction(patches, 3 * patches, ~none), [4.0, 4.0])
    one = np.broadcast_to(np.arange(4) == 0, (8, 4))
    assert not jax.jit(losses.pairwise_ranking)(*pair, one).any()


def test_unmasked_patches_do_not_matter():
    prediction, target = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    mask = np.arange(5)[None, :] < np.array([[1], [3], [5]])
    changed = np.where(mask[:, :, None], prediction, np.float32(1e3))
    reconstruction = jax.jit(losses.masked_reconstruction)
    close(reconstruction(changed, target, mask), reconstruction(prediction, target, mask))


def test_pixels_may_be_integers():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 12), np.uint8)
    normal = np.asarray(jax.jit(losses.normalise_patches)(pixels))
    close(normal.mean(-1), np.zeros((2, 5)))
    close(normal.var(-1, ddof=1), np.ones((2, 5)))
    with pytest.raises(AssertionError):
        losses.normalise_patches(pixels[..., :1])


def test_ranking_sees_order_and_not_size():
    prediction, target = np.float32([[0, 1, 2]]), np.float32([[1, 5, 100]])
    ranking, mask = jax.jit(losses.pairwise_ranking), np.ones((1, 3), bool)
    close(ranking(prediction, target, mask), ranking(prediction, np.log(target), mask))
    assert ranking(50 * prediction, target, mask) < 1e-6
    assert ranking(-50 * prediction, target, mask) > 10


@pytest.mark.parametrize(
    'loss',
    [
        losses.entropy,
        lambda x: losses.distil(x, jnp.array([[0.0, 1.0, -jnp.inf]])[:, : x.shape[1]]),
        lambda x: losses.cross_entropy(x, jnp.array([1])),
    ],
    ids=['entropy', 'distil', 'cross_entropy'],
)
def test_ruled_out_classes(loss):
    logits = np.float32([[0, 1, -np.inf]])
    objective = jax.jit(jax.value_and_grad(lambda x: loss(x).sum()))
    value, gradient = objective(logits)
    close(value, objective(logits[:, :2])[0])
    assert finite(gradient)


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


def test_estimates_find_the_information_of_two_gaussians():
    """With the best critic, the log of the density ratio, which is known."""
    x, e, apart = np.random.default_rng(0).normal(size=(3, 4096))
    rho = 0.6
    ratio = lambda x, y: (
        -np.log(1 - rho**2) / 2
        + x * y * rho / (1 - rho**2)
        - (x**2 + y**2) * rho**2 / (2 * (1 - rho**2))
    )
    scores = ratio(x, rho * x + (1 - rho**2) ** 0.5 * e), ratio(x, apart)[:, None]
    scores = tuple(jnp.float32(s) for s in scores)
    known = -np.log(1 - rho**2) / 2
    for estimate in (losses.nwj(scores[0] + 1, scores[1] + 1), losses.donsker_varadhan(*scores)):
        close(estimate.mean(), known, atol=0.03)
    close(losses.smile(*scores, clip=np.inf), losses.donsker_varadhan(*scores))
    surest = losses.info_nce_bound(jnp.array([1e4]), jnp.zeros((1, 7)))
    close(surest, [np.log(8)])


def test_the_limits_of_soft_orders():
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    order, ranks = np.sort(x), np.argsort(np.argsort(x)) + 1
    rank = jax.jit(losses.soft_rank)
    close(rank(x, strength=1e-3), ranks)
    close(rank(x, strength=1e6), np.full_like(x, 4.5), atol=1e-4)
    close(losses.soft_sort(x, strength=1e-3), order)
    soft, p = losses.sorting_network(x, steepness=1e4)
    close(soft, order)
    close(losses.order_cross_entropy(p, ranks), np.zeros(3), atol=1e-6)


@pytest.mark.parametrize('count', [1, 2, 8])
def test_bitonic_networks_against_batchers_recursion(count):
    x = np.random.default_rng(0).normal(size=(2, count)).astype(np.float32)
    options = {'network': 'bitonic', 'relaxation': 'cauchy', 'steepness': 2.0}
    gates = lambda n: sorting.bitonic(0, n, True)
    expected = sorting.sorting_network([x], None, gates=gates, gate=sorting.CAUCHY)
    close(sorting.stacked(losses.sorting_network(x, **options)), expected)
    with pytest.raises(ValueError, match='power of two'):
        losses.sorting_network(jnp.ones((2, 6)), network='bitonic')


def test_a_slope_of_one_is_free_and_a_pair_has_one_slope(pair):
    x, y = pair
    key, direction = jax.random.key(0), jnp.array([0.6, 0, -0.8, 0])
    close(losses.gradient_penalty(key, lambda x: x @ direction, x, y), np.zeros(8), atol=1e-9)
    critic = lambda x: jnp.tanh(x @ direction)
    halves = lambda x: (x[:, :2], x[:, 2:])
    joined = lambda xs: critic(jnp.concatenate(xs, axis=1))
    whole = losses.gradient_penalty(key, critic, x, y)
    close(losses.gradient_penalty(key, joined, halves(x), halves(y)), whole)


def test_slices_of_an_even_slope_are_exact(pair):
    exact = np.square(pair[0]).sum(1) / 2 - 4
    close(losses.score_matching(lambda x: -x, pair[0]), exact)
    close(losses.sliced_score_matching(jax.random.key(0), lambda x: -x, pair[0]), exact)


def test_every_drawn_loss_is_convex_and_calibrated():
    margins = jnp.array([3.0, -1, 0, 0.5, -4, 1.5, 0.1, -0.2])

    def slopes(key, shape):
        loss = lambda m: losses.ens_loss(key, m, lambda_=shape).sum()
        return jax.grad(loss)(margins)

    keys, shapes = jax.random.split(jax.random.key(0), 200), jnp.linspace(-2, 2, 200)
    found = np.asarray(jax.jit(jax.vmap(slopes))(keys, shapes))
    assert (found < 0).all()
    assert (found >= -1 - 1e-5).all()
    assert (np.diff(found[:, np.argsort(margins)]) >= 0).all()


def test_the_codebook_and_the_encoder_each_move_by_their_own_term(pair):
    loss = lambda z, q: losses.vq_loss(z, q, beta=0.25).sum()
    of_z, of_q = jax.grad(loss, (0, 1))(*pair)
    close(of_z, 0.25 * 2 * (pair[0] - pair[1]) / 4)
    close(of_q, 2 * (pair[1] - pair[0]) / 4)


def test_ibot_of_all_patches_is_dino_of_each():
    student, teacher = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    center, every = teacher.mean((0, 1)), np.ones((3, 4), np.float32)
    each = jax.jit(losses.dino)(student.reshape(12, 5), teacher.reshape(12, 5), center)
    ibot = jax.jit(losses.ibot)
    for found in (
        ibot(student, teacher, center, every),
        ibot(student, teacher, center, 0 * every, visible=1.0),
    ):
        close(found, np.reshape(each, (3, 4)).mean(1))


def test_msn_is_pmsn_with_a_uniform_prior(pair):
    uniform = losses.power_law(3, exponent=0.0)

    def both(z, anchors):
        arguments = anchors[None], z, z[:3]
        plain = losses.msn(*arguments, iterations=0)
        return plain, losses.pmsn(*arguments, uniform, iterations=0)

    agree(both, *pair)


def test_kernels_of_patches_do_not_see_a_rotation_or_a_scale(pair):
    patches = np.stack(pair)
    rotation, _ = np.linalg.qr(pair[0][:4])
    close(jax.jit(losses.paka)(3 * patches @ rotation + 1, patches), np.zeros(2))


def test_gaussian_batches_are_regular():
    z = np.random.default_rng(0).normal(size=(2048, 4)).astype(np.float32)
    sigreg = jax.jit(lambda z: losses.sigreg(jax.random.key(1), z, slices=16))
    regular, flat = sigreg(z), sigreg(z * np.float32(0.1))
    assert regular < 2  # about 1.06 on average
    assert flat > 100
    visreg = jax.jit(lambda views: losses.visreg(jax.random.key(1), views, slices=16))
    assert visreg(np.stack([z, z])) < 0.02


def test_a_large_margin_of_one_is_the_plain_softmax(pair):
    labels = np.arange(8, dtype=np.int32) % 3

    def both(z, weights):
        plain = losses.cross_entropy(z @ weights.T, labels)
        return losses.large_margin_softmax(z, labels, weights, margin=1), plain

    agree(both, pair[0], pair[1][:3])
