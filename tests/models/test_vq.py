"""Quantisers against slow NumPy loops, and the gradients that tell them apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.models import vq

K, D = 12, 3


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def loop_nearest(z, codebook):
    found = []
    for row in np.asarray(z, np.float64).reshape(-1, z.shape[-1]):
        distances = [((row - c) ** 2).sum() for c in np.asarray(codebook, np.float64)]
        found.append(int(np.argmin(distances)))
    return np.array(found).reshape(z.shape[:-1])


def test_nearest_is_the_nearest(rng):
    z, codebook = rng.normal(size=(2, 5, D)), rng.normal(size=(K, D))
    found = vq.nearest(jnp.float32(z), jnp.float32(codebook))
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, loop_nearest(z, codebook))
    with pytest.raises(AssertionError):
        vq.nearest(jnp.zeros((2, D + 1)), jnp.zeros((K, D)))


@pytest.mark.parametrize('chunk', [1, 4, 5, 11, 12, 4096])
def test_chunks_of_codes_change_nothing(chunk, rng):
    z, codebook = rng.normal(size=(2, 5, D)), rng.normal(size=(K, D))
    codebook[7] = codebook[2]  # the first of equals, across chunks too
    z[0, 0] = codebook[2]
    found = jax.jit(lambda *a: vq.nearest(*a, chunk=chunk))(jnp.float32(z), jnp.float32(codebook))
    assert found.dtype == jnp.int32
    assert found[0, 0] == 2
    np.testing.assert_array_equal(found, loop_nearest(z, codebook))


def test_chunks_bound_the_memory():
    shapes = jax.ShapeDtypeStruct((512, 8), 'float32'), jax.ShapeDtypeStruct((8192, 8), 'float32')
    sizes = []
    for chunk in (256, 8192):
        program = jax.jit(lambda *a: vq.nearest(*a, chunk=chunk)).lower(*shapes).compile()
        sizes.append(program.memory_analysis().temp_size_in_bytes)
    assert sizes[0] < 2 * 512 * 256 * 4 + 2 * 8192 * 8 * 4 + 65_536
    assert sizes[1] >= 512 * 8192 * 4


def test_quantise_value_loss_and_gradients(rng):
    z, codebook = jnp.float32(rng.normal(size=(7, D))), jnp.float32(rng.normal(size=(K, D)))
    found = vq.quantise(z, codebook, beta=0.25)
    chosen = np.asarray(codebook)[loop_nearest(z, codebook)]
    np.testing.assert_allclose(found.q, chosen, atol=1e-6)
    np.testing.assert_allclose(found.loss, 1.25 * ((z - chosen) ** 2).mean(-1), rtol=1e-5)

    weights = jnp.float32(rng.normal(size=(7, D)))
    through = jax.grad(lambda z: (vq.quantise(z, codebook).q * weights).sum())(z)
    np.testing.assert_allclose(through, weights, rtol=1e-6)
    assert not jax.grad(lambda c: vq.quantise(z, c).q.sum())(codebook).any()

    of_z, of_c = jax.grad(lambda *a: vq.quantise(*a, beta=0.25).loss.sum(), (0, 1))(z, codebook)
    np.testing.assert_allclose(of_z, 0.25 * 2 / D * (z - chosen), rtol=1e-4, atol=1e-6)
    expected = np.zeros((K, D))
    for row, k in zip(np.asarray(z), loop_nearest(z, codebook), strict=True):
        expected[k] += 2 / D * (np.asarray(codebook)[k] - row)
    np.testing.assert_allclose(of_c, expected, rtol=1e-4, atol=1e-6)


def test_initial_codebooks():
    c = vq.gaussian(jax.random.key(0), (2000, 16))
    assert abs(float(c.std()) - 0.25) < 0.01
    c = vq.uniform(jax.random.key(0), (2000, 16))
    assert float(abs(c).max()) <= 1 / 2000
    assert float(abs(c).max()) > 0.99 / 2000


def motion(module, z):
    """Motion of the codebook along the gradient of the loss, and the indices."""
    variables = module.init(jax.random.key(0), z)
    fixed = {k: v for k, v in variables.items() if k != 'params'}
    loss = lambda p: module.apply({'params': p, **fixed}, z).loss.sum()
    codebook = lambda p: module.apply({'params': p, **fixed}, method='codebook')
    params = variables['params']
    moved = jax.jvp(codebook, (params,), (jax.grad(loss)(params),))[1]
    return np.asarray(moved), np.asarray(module.apply(variables, z).indices), variables


def test_simvq_moves_every_code_and_vanilla_the_chosen_ones(rng):
    z = jnp.float32(rng.normal(size=(4, D)))
    moved, indices, variables = motion(vq.SimVQ(K, D), z)
    assert set(variables['params']) == {'linear'}
    assert (abs(moved).max(1) > 1e-6).all()
    basis = np.asarray(variables['constants']['basis'], np.float64)
    kernel, bias = (np.asarray(variables['params']['linear'][n]) for n in ('kernel', 'bias'))
    codebook = basis @ kernel + bias
    np.testing.assert_array_equal(indices, loop_nearest(z, codebook))
    d_q = np.zeros((K, D))
    for row, k in zip(np.asarray(z), indices, strict=True):
        d_q[k] += 2 / D * (codebook[k] - row)
    np.testing.assert_allclose(moved, basis @ (basis.T @ d_q) + d_q.sum(0), rtol=1e-3, atol=1e-5)

    moved, indices, _ = motion(vq.VectorQuantiser(K, D, codebook_init=vq.gaussian), z)
    np.testing.assert_array_equal(np.flatnonzero(abs(moved).max(1)), np.unique(indices))


def test_simvq_may_learn_its_basis():
    variables = vq.SimVQ(K, D, learn_basis=True).init(jax.random.key(0), jnp.zeros((2, D)))
    assert set(variables) == {'params'}
    assert variables['params']['basis'].shape == (K, D)


def test_simvq_with_heads_is_one_simvq_for_each_slice(rng):
    heads, codes, width = 2, 5, 3
    z = jnp.float32(rng.normal(size=(4, 2, heads * width)))
    module = vq.SimVQ(heads * codes, heads * width, heads=heads)
    variables = module.init(jax.random.key(0), z)
    basis = variables['constants']['basis']
    assert basis.shape == (codes, width)  # one basis for all heads
    found = module.apply(variables, z)
    assert found.indices.shape == (4, 2, heads)
    linear, loss = variables['params']['linear'], 0
    for h in range(heads):
        here = slice(h * width, (h + 1) * width)
        own = {'kernel': linear['kernel'][:, here], 'bias': linear['bias'][here]}
        single = {'params': {'linear': own}, 'constants': {'basis': basis}}
        one = vq.SimVQ(codes, width).apply(single, z[..., here])
        np.testing.assert_array_equal(found.indices[..., h], one.indices + h * codes)
        np.testing.assert_allclose(found.q[..., here], one.q, rtol=1e-5, atol=1e-6)
        loss += one.loss / heads
    np.testing.assert_allclose(found.loss, loss, rtol=1e-5)
    codebook = np.asarray(module.apply(variables, method='codebook'))
    chosen = codebook[np.asarray(found.indices)].reshape(z.shape)
    np.testing.assert_allclose(found.q, chosen, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match='heads'):
        vq.SimVQ(9, heads * width, heads=heads).init(jax.random.key(0), z)


def test_simvq_on_wider_features(rng):
    z, features = jnp.float32(rng.normal(size=(4, D))), jnp.float32(rng.normal(size=(K, 7)))
    module = vq.SimVQ(K, D, codebook_init=lambda key, shape: features, basis_width=7)
    variables = module.init(jax.random.key(0), z)
    np.testing.assert_array_equal(variables['constants']['basis'], features)
    linear = variables['params']['linear']
    codebook = np.asarray(features, np.float64) @ linear['kernel'] + linear['bias']
    np.testing.assert_array_equal(module.apply(variables, z).indices, loop_nearest(z, codebook))


def test_clustered_finds_the_groups_and_the_spread_of_gaussian(rng):
    groups = 10 * rng.normal(size=(4, 16))
    h = np.repeat(groups, 50, axis=0) + 0.01 * rng.normal(size=(200, 16))
    codes = vq.clustered(jax.random.key(0), jnp.float32(h), 4)
    expected = (groups - h.mean(0)) / h.std(0) / 4
    nearest = loop_nearest(expected, codes)
    assert sorted(nearest) == [0, 1, 2, 3]
    np.testing.assert_allclose(codes[nearest], expected, atol=0.01)
    flat = vq.clustered(jax.random.key(0), jnp.ones((9, 3)), 2)
    np.testing.assert_allclose(flat, np.zeros((2, 3)), atol=1e-4)


def test_ema_update_by_hand():
    before = vq.Averages(jnp.array([1.0, 2.0]), jnp.array([[1.0], [4.0]]))
    z, indices = jnp.array([[3.0], [5.0], [7.0]]), jnp.array([0, 0, 1])
    after = vq.ema_update(before, z, indices, decay=0.9)
    np.testing.assert_allclose(after.counts, [0.9 + 0.2, 1.8 + 0.1], rtol=1e-6)
    np.testing.assert_allclose(after.sums, [[0.9 + 0.8], [3.6 + 0.7]], rtol=1e-6)
    np.testing.assert_allclose(after.codebook, [[1.7 / 1.1], [4.3 / 1.9]], rtol=1e-6)


def test_restart_moves_dead_codes_onto_tokens():
    before = vq.Averages(jnp.array([0.05, 2.0, 0.0]), jnp.array([[1.0], [4.0], [0.0]]))
    after = vq.restart(jax.random.key(0), before, jnp.array([[7.0], [8.0]]), threshold=0.1)
    np.testing.assert_array_equal(after.counts, [1, 2, 1])
    assert float(after.sums[1, 0]) == 4
    assert set(np.asarray(after.sums)[[0, 2], 0]) <= {7.0, 8.0}
    unchanged = vq.restart(jax.random.key(0), before, jnp.zeros((1, 1)), threshold=0.0)
    np.testing.assert_array_equal(unchanged.sums, before.sums)


def test_ema_quantiser_learns_in_training_only(rng):
    z = jnp.float32(rng.normal(size=(2, 5, D)))
    module = vq.EMAQuantiser(K, D, decay=0.9, threshold=0.0)
    variables = module.init(jax.random.key(0), z)
    assert set(variables) == {'ema'}
    np.testing.assert_array_equal(variables['ema']['counts'], np.ones(K))
    options = {'mutable': ['ema'], 'rngs': {'restart': jax.random.key(1)}}
    found, new = module.apply(variables, z, train=True, **options)
    counts = 0.9 + 0.1 * np.bincount(np.asarray(found.indices).ravel(), minlength=K)
    np.testing.assert_allclose(new['ema']['counts'], counts, rtol=1e-6)
    _, same = module.apply(variables, z, **options)
    np.testing.assert_array_equal(same['ema']['sums'], variables['ema']['sums'])
    chosen = np.asarray(variables['ema']['sums'])[np.asarray(found.indices)]
    np.testing.assert_allclose(found.loss, 0.25 * ((z - chosen) ** 2).mean(-1), rtol=1e-5)


def test_factorised_looks_up_directions(rng):
    z = jnp.float32(rng.normal(size=(6, D)))
    module = vq.FactorisedQuantiser(K, D, code_width=2)
    variables = module.init(jax.random.key(0), z)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables['params'])
    low = np.asarray(z) @ p['down']['kernel'] + p['down']['bias']
    unit = lambda a: a / np.linalg.norm(a, axis=-1, keepdims=True)
    found = module.apply(variables, z)
    indices = (unit(low) @ unit(p['rows']).T).argmax(-1)
    np.testing.assert_array_equal(found.indices, indices)
    expected = unit(p['rows'])[indices] @ p['up']['kernel'] + p['up']['bias']
    np.testing.assert_allclose(found.q, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('levels', [(3, 5), (8, 5, 5), (4, 2)])
def test_fsq_reaches_every_level_and_no_other(levels):
    grid = np.linspace(-4, 4, 61)
    z = np.stack(np.meshgrid(*[grid] * len(levels)), -1).reshape(-1, len(levels))
    if len(levels) == 3:
        z = z[::7]
    codes, indices = vq.fsq(jnp.float32(z), levels)
    for channel, count in enumerate(levels):
        found = np.unique(np.round(np.asarray(codes)[:, channel], 5))
        low = -(count // 2)
        np.testing.assert_allclose(found, np.arange(low, low + count) / (count // 2), atol=1e-5)
    assert set(np.asarray(indices)) == set(range(int(np.prod(levels))))
    pairs = {(int(i), *np.round(c, 4)) for i, c in zip(indices, np.asarray(codes), strict=True)}
    assert len(pairs) == np.prod(levels)


def test_fsq_passes_the_gradient_of_the_bound():
    z = jnp.array([[0.3, -2.0]])
    slope = jax.grad(lambda z: vq.fsq(z, (5, 5))[0].sum())(z)
    np.testing.assert_allclose(slope, 0.999 * (1 - np.tanh(np.asarray(z)) ** 2), rtol=1e-5)
    with pytest.raises(ValueError, match='levels'):
        vq.fsq(z, (1, 5))


def test_lfq_is_binary_counting():
    z = jnp.array([[-1.0, 2.0, 0.0], [0.1, -0.2, -3.0]])
    codes, indices = vq.lfq(z)
    np.testing.assert_allclose(codes, [[-1, 1, 1], [1, -1, -1]], atol=1e-6)
    np.testing.assert_array_equal(indices, [2 + 4, 1])
    np.testing.assert_array_equal(jax.grad(lambda z: vq.lfq(z)[0].sum())(z), np.ones((2, 3)))


def test_lfq_entropy_is_the_loop(rng):
    z, temperature = rng.normal(size=(5, 3)), 0.7
    codes = np.array([[1 if k >> i & 1 else -1 for i in range(3)] for k in range(8)])
    p = np.array([[np.exp(-((row - c) ** 2).sum() / temperature) for c in codes] for row in z])
    p /= p.sum(1, keepdims=True)
    entropy = lambda p: -sum(x * np.log(x) for x in p)
    expected = np.mean([entropy(row) for row in p]) - entropy(p.mean(0))
    found = vq.lfq_entropy(jnp.float32(z), temperature=temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


MODULES = [
    vq.VectorQuantiser(K, D),
    vq.SimVQ(K, D),
    vq.SimVQ(K, D, basis_width=5, learn_basis=True),
    vq.EMAQuantiser(K, D),
    vq.FactorisedQuantiser(K, D),
    vq.FSQ(D, levels=(4, 3)),
    vq.LFQ(D, bits=4),
]


@pytest.mark.parametrize('module', MODULES, ids=lambda m: type(m).__name__)
def test_laws(module, rng):
    z = jnp.float32(rng.normal(size=(2, 4, D)))
    variables = module.init(jax.random.key(0), z)
    found = module.apply(variables, z)
    assert found.q.shape == z.shape
    assert found.indices.shape == found.loss.shape == z.shape[:-1]
    assert (found.indices >= 0).all()
    assert (found.indices < module.count).all()
    swapped = module.apply(variables, z[::-1])
    np.testing.assert_array_equal(swapped.indices, found.indices[::-1])

    def total(z):
        options = {'mutable': ['ema'], 'rngs': {'restart': jax.random.key(1)}}
        out, _ = module.apply(variables, z, train=True, **options)
        return out.q.sum() + out.loss.sum()

    rows = jnp.stack([jnp.zeros((4, D)), jnp.ones((4, D)), jnp.full((4, D), 1e4)])
    value, slope = jax.value_and_grad(total)(rows)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
