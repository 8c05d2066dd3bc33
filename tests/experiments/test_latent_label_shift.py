"""What the generic smoke test leaves out: what is found where p(d | x) is right, and the mixes."""

from dataclasses import replace

import numpy as np

from experiments.clustering import latent_label_shift as lls

CONFIG = replace(lls.SMOKE, classes=3, domains=4, cells=3)


def test_right_domains_give_right_classes():
    random = np.random.default_rng(0)
    mixes = np.array([[0.8, 0.1, 0.2, 0.3], [0.1, 0.8, 0.1, 0.3], [0.1, 0.1, 0.7, 0.4]])
    d = np.repeat(np.arange(4), 250).astype(np.int32)
    y = np.concatenate([random.permutation(np.repeat(range(3), (250 * m).astype(int) + 1))[:250]
                        for m in mixes.T])  # fmt: skip
    p = (mixes / mixes.sum(1, keepdims=True))[y]
    row, here = lls.discover(CONFIG, 0, p, p, d, (None, y, d), mixes)
    assert row['accuracy'] == row['agnostic'] == row['cells'] == 1
    assert row['mix_error'] < 0.01
    assert len(set(zip(here, y, strict=True))) == 3
    # From random factors the fit is as good, and another.
    other, _ = lls.discover(CONFIG, 0, p, p, d, (None, y, d), mixes, restarts=2)
    assert other['mix_error'] > 0.05


def test_the_mixes_of_the_blobs_are_their_domains():
    (x, y, d), (_, _, test_d), mixes = lls.blobs(replace(CONFIG, blobs=4000), 0)
    assert x.shape == (4000, 2)
    assert set(test_d) == set(range(4))
    for domain in range(4):
        shares = np.bincount(y[d == domain], minlength=3) / (d == domain).sum()
        np.testing.assert_allclose(shares, mixes[:, domain], atol=0.06)
