"""Reconstruction quality against scikit-image."""

import jax.numpy as jnp
import numpy as np
import pytest
from skimage import metrics

from jssl.evaluate import psnr, ssim


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    x = random.random((2, 20, 17, 3))
    return x, np.clip(x + random.normal(0, 0.2, x.shape), 0, 1)


@pytest.mark.parametrize('peak', [1.0, 255.0])
def test_against_scikit_image(images, peak):
    x, y = (peak * a for a in images)
    ratios = psnr(jnp.float32(x), jnp.float32(y), peak=peak)
    similarities = ssim(jnp.float32(x), jnp.float32(y), peak=peak)
    assert ratios.shape == similarities.shape == (2,)
    for i in range(2):
        expected = metrics.peak_signal_noise_ratio(x[i], y[i], data_range=peak)
        np.testing.assert_allclose(ratios[i], expected, rtol=1e-5)
        expected = metrics.structural_similarity(
            x[i],
            y[i],
            data_range=peak,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        np.testing.assert_allclose(similarities[i], expected, atol=1e-4)


def test_identical_images_and_bytes(images):
    x = jnp.uint8(255 * images[0]).at[0].set(0)
    np.testing.assert_allclose(ssim(x, x, peak=255), 1, rtol=1e-6)
    assert (psnr(x, x, peak=255) == np.inf).all()
    assert np.isfinite(psnr(x, x.at[:, 0, 0].add(1), peak=255)).all()


def test_images_smaller_than_the_window():
    x = jnp.zeros((8, 8, 1))
    with pytest.raises(ValueError, match='window 11'):
        ssim(x, x)
