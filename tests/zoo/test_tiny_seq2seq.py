"""The translator at toy size: pairs say the same, decoding is what a slow loop decodes."""

import jax
import numpy as np

from jssl import train
from jssl.data.generated import languages
from jssl.zoo import tiny_seq2seq as zoo

ALONE = train.make_mesh('data:1', jax.devices()[:1])
TOY = zoo.Recipe(count=40, width=16, depth=1, steps=3, batch=4)


def test_pairs_are_word_for_word_in_another_order():
    known = zoo.words(TOY)
    pairs = zoo.pairs(TOY, 'train')
    partner = dict(zip(languages.ENGLISH.words, zoo._invented(TOY).words, strict=True))
    for source, target in zip(pairs['source'], pairs['target'], strict=True):
        english, other = ([known[t] for t in row if t > languages.END] for row in (source, target))
        assert sorted(partner[word] for word in english) == sorted(other)
        assert english != other
        assert target[0] == languages.END
        assert target[len(other) + 1] == languages.END


def test_a_sentence_is_right_to_its_last_word_or_wrong(monkeypatch):
    wanted = zoo.pairs(TOY, 'validation')['target'][:, 1:]
    told = np.where(wanted == languages.PAD, languages.END, wanted)
    told[:50, 3] += 1
    monkeypatch.setattr(zoo, 'translate', lambda *_, **given: (told[:, None], None))
    assert zoo.measure(TOY, {})['exact'] == 1 - 50 / len(wanted)


def test_it_trains_and_translates_as_a_slow_loop_does():
    init, step = zoo.build(TOY)
    options = {'steps': TOY.steps, 'key': 0, 'mesh': ALONE, 'progress': False}
    state, history = train.fit(step, init, zoo.batches(TOY), **options)
    assert np.isfinite(history['loss']).all()
    variables, network = zoo.variables(TOY, state), zoo.network(TOY)
    source = zoo.pairs(TOY, 'validation')['source'][:3]
    run = jax.jit(lambda v: zoo.translate(network, v, source, steps=4, beams=2))
    tokens, scores = jax.device_get(run(variables))
    assert tokens.shape == (3, 2, 4)
    assert (np.diff(scores, axis=1) <= 0).all()
    apply = jax.jit(
        lambda v, y: jax.nn.log_softmax(network.apply(v, source, y, mask=zoo.seen(source)))
    )
    for k in range(2):
        told = np.concatenate([np.full((3, 1), languages.END), tokens[:, k]], axis=1)
        log_p = np.take_along_axis(np.asarray(apply(variables, told[:, :-1])), told[:, 1:, None], 2)
        log_p = log_p[..., 0]
        for row in range(3):
            over = np.flatnonzero(tokens[row, k] == languages.END)
            count = over[0] + 1 if len(over) else 4
            np.testing.assert_allclose(scores[row, k], log_p[row, :count].sum(), rtol=1e-4)
