"""Every loss against slow float64 loops written from its paper.

An oracle takes (live, still): the same arguments twice. Where the paper stops the gradient,
it reads `still`; central differences, along random directions, move `live` alone.
"""

import cmath
import math

import numpy as np
import pytest

from . import (
    answers,
    bounds,
    denoisers,
    dense,
    groups,
    latent,
    local,
    noisy,
    pairs,
    prototypes,
    proxies,
    slopes,
    sorting,
    speech,
    spread,
    unlabelled,
    views,
)
from .cases import CASES

DIRECTIONS = 4


def cosine(a, b):
    return sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b))


def log_softmax(logits):
    return [l - math.log(sum(math.exp(m) for m in logits)) for l in logits]


def cross_entropy(target, logits):
    return -sum(t * l for t, l in zip(target, log_softmax(logits), strict=True))


def softmax(logits):
    return [math.exp(l) for l in log_softmax(logits)]


def info_nce(live, _, *, temperature=0.07):
    q, k = live
    out = []
    for i in range(len(q)):
        total = sum(math.exp(cosine(q[i], k[j]) / temperature) for j in range(len(k)))
        out.append(-math.log(math.exp(cosine(q[i], k[i]) / temperature) / total))
    return out


def info_nce_queue(live, _):
    q, k, negatives = live
    out = []
    for i in range(len(q)):
        positive = math.exp(cosine(q[i], k[i]) / 0.2)
        total = positive + sum(math.exp(cosine(q[i], n) / 0.2) for n in negatives)
        out.append(-math.log(positive / total))
    return out


def info_nce_temperature(live, _):
    q, k, temperature = live
    return info_nce((q, k), None, temperature=2 + math.tanh(temperature))


def nt_xent(live, _, *, temperature=0.1, negatives=()):
    z, batch = [*live[0], *live[1]], len(live[0])
    out = []
    for i in range(2 * batch):
        other = (i + batch) % (2 * batch)
        total = sum(math.exp(cosine(z[i], z[m]) / temperature) for m in range(len(z)) if m != i)
        total += sum(math.exp(cosine(z[i], n) / temperature) for n in negatives)
        out.append(-math.log(math.exp(cosine(z[i], z[other]) / temperature) / total))
    return out


def nt_xent_queue(live, _):
    return nt_xent(live[:2], None, temperature=0.2, negatives=live[2])


def decoupled(live, still, *, sigma=None):
    batch, temperature = len(live[0]), 0.1
    weights = [1.0] * batch
    if sigma:
        alike = [math.exp(cosine(still[0][i], still[1][i]) / sigma) for i in range(batch)]
        weights = [2 - a / (sum(alike) / batch) for a in alike]
    out = []
    for view in (0, 1):
        for i in range(batch):
            z = live[view][i]
            positive = weights[i] * cosine(z, live[1 - view][i]) / temperature
            total = 0.0
            for other_view in (0, 1):
                for j in range(batch):
                    if j != i:
                        total += math.exp(cosine(z, live[other_view][j]) / temperature)
            out.append(-positive + math.log(total))
    return out


def sup_con(live, _):
    z, labels = live
    out = []
    for i in range(len(z)):
        total = sum(math.exp(cosine(z[i], z[a]) / 0.1) for a in range(len(z)) if a != i)
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        terms = [math.log(math.exp(cosine(z[i], z[p]) / 0.1) / total) for p in positives]
        out.append(-sum(terms) / len(terms) if terms else 0.0)
    return out


def clip(live, _):
    image, text, scale = live
    n, out = len(image), []
    for i in range(n):
        one_hot = [float(j == i) for j in range(n)]
        to_text = [scale * cosine(image[i], text[j]) for j in range(n)]
        to_image = [scale * cosine(image[j], text[i]) for j in range(n)]
        out.append((cross_entropy(one_hot, to_text) + cross_entropy(one_hot, to_image)) / 2)
    return out


def siglip(live, _):
    image, text, scale, bias = live
    out = []
    for i in range(len(image)):
        loss = 0.0
        for j in range(len(text)):
            sign = 1 if i == j else -1
            logit = sign * (scale * cosine(image[i], text[j]) + bias)
            loss += math.log(1 + math.exp(-logit))
        out.append(loss)
    return out


def silc(live, still, *, bias=None):
    matching = (
        clip([*live[:2], 3.0], still) if bias is None else siglip([*live[:2], 3.0, bias], still)
    )
    out = []
    for i, crops in enumerate(live[2]):
        target = softmax((still[3][i] - still[4]) / 0.04)
        parts = [cross_entropy(target, crop / 0.1) for crop in crops]
        out.append(matching[i] + 0.5 * sum(parts) / len(parts))
    return out


def enqueue(live, _):
    queue, rows = [list(row) for row in live[0]], [list(row) for row in live[1]]
    for row in reversed(rows):  # the last of the batch is the first to enter
        queue.insert(0, row)
        queue.pop()
    return queue


def barlow_twins(live, _):
    n, d = live[0].shape
    columns = []
    for z in live:
        standard = []
        for column in z.T:
            mean = sum(column) / n
            deviation = math.sqrt(sum((c - mean) ** 2 for c in column) / n + 1e-5)
            standard.append([(c - mean) / deviation for c in column])
        columns.append(standard)
    loss = 0.0
    for i in range(d):
        for j in range(d):
            c = sum(a * b for a, b in zip(columns[0][i], columns[1][j], strict=True)) / n
            loss += (1 - c) ** 2 if i == j else 5e-3 * c**2
    return loss


def vicreg(live, _):
    n, d = live[0].shape
    invariance = sum((a - b) ** 2 for a, b in zip(live[0].ravel(), live[1].ravel(), strict=True))
    loss = 25 * invariance / (n * d)
    for z in live:
        means = [sum(column) / n for column in z.T]
        for i in range(d):
            for j in range(d):
                c = sum((row[i] - means[i]) * (row[j] - means[j]) for row in z) / (n - 1)
                loss += 25 * max(0.0, 1 - math.sqrt(c + 1e-4)) / d if i == j else c**2 / d
    return loss


def cosine_regression(live, still):
    out = []
    for p, z in zip(live[0], still[1], strict=True):
        p, z = p / math.sqrt(sum(p * p)), z / math.sqrt(sum(z * z))
        out.append(sum((p - z) ** 2))
    return out


def dino(live, still):
    center, out = still[2], []
    for student, teacher in zip(live[0], still[1], strict=True):
        out.append(cross_entropy(softmax((teacher - center) / 0.04), student / 0.1))
    return out


def dino_center(live, _):
    center, teacher = live
    return [
        0.9 * c + 0.1 * sum(row[k] for row in teacher) / len(teacher) for k, c in enumerate(center)
    ]


def distil(live, still):
    return [cross_entropy(softmax(t / 3), s / 3) for s, t in zip(live[0], still[1], strict=True)]


def swapped_prediction(live, still):
    scores, codes = live[0], still[1]
    out = []
    for i in range(scores.shape[1]):
        terms = [
            cross_entropy(codes[g, i], scores[v, i] / 0.1)
            for g in range(len(codes))
            for v in range(len(scores))
            if v != g
        ]
        out.append(sum(terms) / len(terms))
    return out


def sinkhorn(scores):
    q = np.exp(scores / 0.05)
    for _ in range(3):
        for k in range(q.shape[1]):
            q[:, k] /= sum(q[:, k])
        for i in range(q.shape[0]):
            q[i] /= sum(q[i])
    return q


def swav(live, still):
    codes = np.stack([sinkhorn(scores) for scores in still])
    return swapped_prediction((np.stack(live), None), (None, codes))


def patch_errors(live, _):
    prediction, target = live
    return [
        [sum((p - t) ** 2) / len(p) for p, t in zip(row, goal, strict=True)]
        for row, goal in zip(prediction, target, strict=True)
    ]


def masked_reconstruction(live, _):
    errors, mask = patch_errors(live[:2], None), live[2]
    return [
        sum(m * e for m, e in zip(*row, strict=True)) / sum(row[0])
        for row in zip(mask, errors, strict=True)
    ]


def normalise_patches(live, _):
    out = []
    for row in live[0]:
        out.append([])
        for patch in row:
            mean = sum(patch) / len(patch)
            variance = sum((x - mean) ** 2 for x in patch) / (len(patch) - 1)
            out[-1].append([(x - mean) / math.sqrt(variance + 1e-6) for x in patch])
    return out


def classification(live, _, *, smoothing=0.0):
    logits, labels = live
    out = []
    for row, label in zip(logits, labels, strict=True):
        target = [smoothing / len(row) + (1 - smoothing) * (k == label) for k in range(len(row))]
        out.append(cross_entropy(target, row))
    return out


def entropy(live, _):
    return [-sum(p * math.log(p) for p in softmax(row)) for row in live[0]]


def pairwise_ranking(live, still):
    prediction, target, mask = live[0], still[1], still[2]
    out = []
    for p, goal, chosen in zip(prediction, target, mask, strict=True):
        terms = []
        for i in range(len(p)):
            for j in range(len(p)):
                if i != j and chosen[i] and chosen[j]:
                    sigma = 1 / (1 + math.exp(p[j] - p[i]))
                    t = float(goal[i] > goal[j])
                    terms.append(-t * math.log(sigma) - (1 - t) * math.log(1 - sigma))
        out.append(sum(terms) / len(terms) if terms else 0.0)
    return out


def l1(live, _):
    return sum(abs(x) for leaf in live for x in leaf.ravel())


def l2(live, _):
    return sum(x**2 for leaf in live for x in leaf.ravel())


def normalise(live, _):
    return [row / math.sqrt(sum(row * row)) for row in live[0]]


def cosine_similarity(live, _):
    return [cosine(a, b) for a, b in zip(*live, strict=True)]


def hinge_discriminator(live, _):
    real, fake = (a.reshape(len(a), -1) for a in live)
    return [
        sum(max(0, 1 - r) + max(0, 1 + f) for r, f in zip(x, y, strict=True)) / len(x)
        for x, y in zip(real, fake, strict=True)
    ]


def hinge_generator(live, _):
    return [-x.sum() / x.size for x in live[0]]


def told_apart(logits):
    return [math.log(1 + math.exp(-l)) for l in logits.ravel()]


def non_saturating_discriminator(live, _):
    return [np.mean(told_apart(x)) + np.mean(told_apart(-y)) for x, y in zip(*live, strict=True)]


def non_saturating_generator(live, _):
    return [np.mean(told_apart(x)) for x in live[0]]


def spectrogram(x, window, hop):
    rows = []
    for start in range(0, len(x) - window + 1, hop):
        row = []
        for k in range(window // 2 + 1):
            total = 0
            for t in range(window):
                hann = math.sin(math.pi * t / window) ** 2
                total += hann * x[start + t] * cmath.exp(-2j * math.pi * k * t / window)
            row.append(math.sqrt(max(abs(total) ** 2, 1e-7)))
        rows.append(row)
    return np.array(rows)


def multi_resolution_stft(live, _):
    out = []
    for x, y in zip(*live, strict=True):
        distance = 0
        for window in (8, 16):
            s, t = (spectrogram(a, window, window // 4) for a in (x, y))
            distance += math.sqrt(((s - t) ** 2).sum()) / math.sqrt((t**2).sum())
            distance += abs(np.log(s) - np.log(t)).mean()
        out.append(distance / 2)
    return out


ORACLES = {
    'info_nce': info_nce,
    'info_nce-queue': info_nce_queue,
    'info_nce-queue-chunk': info_nce_queue,
    'info_nce-temperature': info_nce_temperature,
    'nt_xent': nt_xent,
    'nt_xent-queue': nt_xent_queue,
    'nt_xent-queue-chunk': nt_xent_queue,
    'decoupled_contrastive': decoupled,
    'decoupled_contrastive-weighted': lambda live, still: decoupled(live, still, sigma=0.5),
    'sup_con': sup_con,
    'clip': clip,
    'siglip': siglip,
    'silc': silc,
    'silc-bias': lambda live, still: silc(live, still, bias=-1.0),
    'enqueue': enqueue,
    'barlow_twins': barlow_twins,
    'vicreg': vicreg,
    'cosine_regression': cosine_regression,
    'dino': dino,
    'dino_center': dino_center,
    'distil': distil,
    'swapped_prediction': swapped_prediction,
    'swav': swav,
    'masked_reconstruction': masked_reconstruction,
    'patch_errors': patch_errors,
    'normalise_patches': normalise_patches,
    'cross_entropy': classification,
    'cross_entropy-smooth': lambda live, still: classification(live, still, smoothing=0.1),
    'entropy': entropy,
    'pairwise_ranking': pairwise_ranking,
    'hinge_discriminator': hinge_discriminator,
    'hinge_generator': hinge_generator,
    'non_saturating_discriminator': non_saturating_discriminator,
    'non_saturating_generator': non_saturating_generator,
    'multi_resolution_stft': multi_resolution_stft,
    'l1': l1,
    'l2': l2,
    'normalise': normalise,
    'cosine_similarity': cosine_similarity,
    **pairs.ORACLES,
    **proxies.ORACLES,
    **answers.ORACLES,
    **noisy.ORACLES,
    **spread.ORACLES,
    **unlabelled.ORACLES,
    **dense.ORACLES,
    **denoisers.ORACLES,
    **bounds.ORACLES,
    **latent.ORACLES,
    **slopes.ORACLES,
    **sorting.ORACLES,
    **speech.ORACLES,
    **local.ORACLES,
    **prototypes.ORACLES,
    **views.ORACLES,
    **groups.ORACLES,
}


def wide(arguments):
    return [a.astype(np.float64) if np.issubdtype(a.dtype, np.floating) else a for a in arguments]


def test_every_case_has_an_oracle():
    assert ORACLES.keys() == CASES.keys()


@pytest.mark.parametrize(
    ('case', 'oracle'), [(CASES[name], ORACLES.get(name)) for name in CASES], ids=CASES
)
def test_value_and_gradient(case, oracle):
    out, gradients = case.found[0]['another']
    still = wide(case.draws['another'])
    expected = np.array(oracle(still, still))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)

    weights = np.cos(np.arange(expected.size)).reshape(expected.shape)
    objective = lambda live: np.sum(weights * np.array(oracle(live, still)))
    random, step = np.random.default_rng(0), 1e-6
    for which, gradient in zip(case.live, gradients, strict=True):
        tolerance = 3e-5 * max(1, np.abs(gradient).max()) * gradient.size**0.5
        for direction in random.normal(size=(DIRECTIONS, *gradient.shape)):
            there, back = (
                objective([a + h * direction if i == which else a for i, a in enumerate(still)])
                for h in (step, -step)
            )
            fast, slow = np.sum(gradient * direction), (there - back) / (2 * step)
            np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=tolerance)
