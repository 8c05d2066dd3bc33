"""How close an unlearned model is to one that never saw the data."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl.evaluate.score import Score

FEATURES = ('correctness', 'confidence', 'entropy', 'modified_entropy', 'probability')


def attack_features(logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    """What a membership attacker looks at, by name: [N, 1], but 'probability' [N, C].

    modified entropy: -(1 - p_y) log p_y - sum_{c != y} p_c log(1 - p_c)

    Systematic Evaluation of Privacy Risks of Machine Learning Models (Song and Mittal, 2021).
    """
    logits = logits.astype(jnp.float32)
    p, log_p = jax.nn.softmax(logits), jax.nn.log_softmax(logits)
    own = jax.nn.one_hot(labels, logits.shape[1])
    log_rest = jnp.log(jnp.maximum(1 - p, 1e-30))
    modified = own * (1 - p) * log_p + (1 - own) * p * log_rest
    columns = {
        'correctness': (logits.argmax(1) == labels).astype(jnp.float32),
        'confidence': (p * own).sum(1),
        'entropy': -(p * log_p).sum(1),
        'modified_entropy': -modified.sum(1),
    }
    return {**{name: column[:, None] for name, column in columns.items()}, 'probability': p}


def membership_inference(
    member: jax.Array, outside: jax.Array, forgotten: jax.Array, *, regularisation: float = 3.0
) -> Score:
    """MIA-efficacy: the share of forgotten examples that an attacker takes for never seen.

    A support vector classifier (RBF kernel, C = 3) learns to tell features of training examples
    that stay from features of test examples, as many of one as of the other, and judges the
    forgotten.

    Args:
      member, outside, forgotten: features [N, F] of `attack_features`, or [N].

    Returns:
      True negatives among the forgotten, in [0, 1].

    Model Sparsity Can Simplify Machine Unlearning (Jia et al., 2023), appendix C.3.
    """
    from sklearn.svm import SVC

    member, outside, forgotten = (
        np.asarray(x, np.float64).reshape(len(x), -1) for x in (member, outside, forgotten)
    )
    count = min(len(member), len(outside))
    # Evenly spaced rows: the sets may be sorted, and no key is needed.
    member, outside = (x[np.linspace(0, len(x) - 1, count).astype(int)] for x in (member, outside))
    attacker = SVC(C=regularisation, gamma='auto', kernel='rbf')
    attacker.fit(np.concatenate([member, outside]), np.repeat([1, 0], count))
    return Score((attacker.predict(forgotten) == 0).mean(), 'membership_inference/1')


def unlearning_scores(retained, forgotten, test) -> dict[str, float]:
    """UA, MIA-efficacy, RA and TA of an unlearned classifier.

    UA is the error on the forgotten data, RA and TA the accuracy on retained and test data, and the
    attacker of MIA looks at the confidence in the true class.

    Args:
      retained, forgotten, test: pairs (logits [N, C], labels [N]).

    Model Sparsity Can Simplify Machine Unlearning (Jia et al., 2023), section 5.1.
    """
    from scipy.special import softmax

    parts = [(np.asarray(x, np.float32), np.asarray(y)) for x, y in (retained, test, forgotten)]
    # On the host: the sets have many sizes, each of which would be compiled for.
    seen = [softmax(x, axis=1)[np.arange(len(y)), y] for x, y in parts]
    right = [float((x.argmax(1) == y).mean()) for x, y in parts]
    mia = float(membership_inference(*seen))
    return {'ua': 1 - right[2], 'mia': mia, 'ra': right[0], 'ta': right[1]}


def average_gap(metrics: dict[str, float], reference: dict[str, float]) -> float:
    """Mean absolute difference to the reference (a model retrained without the data), by name."""
    return float(np.mean([abs(metrics[name] - reference[name]) for name in reference]))
