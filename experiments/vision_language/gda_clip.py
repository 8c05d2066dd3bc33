"""GDA: class means and one covariance of CLIP's features make a classifier without any training.

Paper: A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation (Wang et al., 2024).

    P = D ((N - 1) S + tr(S) I)^-1,   w_k = P m_k,   b_k = log pi_k - m_k' P m_k / 2
    logits = s f.t_k + alpha (f.w_k + b_k),   alpha in {1e-4, ..., 1e2} by validation

A new class without images takes the 64 features of other classes that are nearest to its sentence;
images without labels take expectation-maximisation, from the zero-shot posteriors on. Beside it the
sentences alone (zero-shot), the nearest class mean, GDA without the sentences, Tip-Adapter; and
what is trained on the same features: a linear probe, CoOp's prompts, Tip-Adapter-F's keys.

Claim: the closed form is no worse than what is trained, and beats the sentences, Tip-Adapter, and
itself without the sentences.
Differences from the paper: 1. the cpu preset has a small CLIP of drawn shapes, and four sets: pale
and deep colours, textures of shapes, outlines, digits, of which its captions know the first two.
There views are not mirrored; rounds, rates and penalties were chosen on seeds 100 and 101. 2. What
has no labels has none to choose alpha by: it is 1. 3. The probe's features are standardised. 4. The
paper preset reads sentences as OpenAI's tokens from a file (arrays NAME [P, K, 77], and NAME/prompt
[K, 77] with places to learn), and lacks the sets that TFDS has not as images.

    python -m experiments.vision_language.gda_clip --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jssl import algorithms, data, evaluate, experiment, losses, train, zoo
from jssl.data import augment, captions, described, imbalance
from jssl.experiment import Claim, figures
from jssl.zoo import tuning


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    seeds: int = 1  # of three, the prompts of all classes fill a device
    model: str = 'clip-vit-base-patch16'  # table 6; or 'tiny_clip'
    weights: str = ''  # file of the published model
    sentences: str = ''  # file of the sets' sentences as tokens
    small: tuple = ()  # changes of the small model's recipe
    sets: tuple[str, ...] = ('imagenet2012', 'caltech101', 'oxford_iiit_pet', 'cars196',
                             'oxford_flowers102', 'food101', 'dtd')  # fmt: skip # section 4.1
    data: str = 'imagenet2012'  # of these, what has shifted images (table 3), and a long tail
    shifted: tuple[str, ...] = ('imagenet_v2', 'imagenet_sketch', 'imagenet_a', 'imagenet_r')  # 3
    images: tuple[int, int] = (0, 0)  # drawn for training and for testing
    size: int = 224  # side of the images
    joint: int = 512  # width of the features
    classes: int = 1000  # of the largest set
    length: int = 77  # of a sentence, in tokens
    shots: tuple[int, ...] = (1, 2, 4, 8, 16)  # labels of a class
    judged: int = 4  # labels of a class for validation, or as many as the shots
    views: int = 10  # random ones of every shot, official configuration
    area: float = 0.5  # least of a view, official code
    flip: float = 0.5  # probability of mirroring a view
    alphas: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)  # official code
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)  # of the probe
    iterations: int = 200  # of L-BFGS, at most
    grid: int = 20  # values each of Tip-Adapter's alpha and beta, up to 3 and 7
    places: int = 16  # of CoOp's prompt
    optimiser: str = 'sgd'  # of prompts; or 'adamw'
    prompt_rate: float = 2e-3  # CoOp's
    prompt_steps: int = 25_000  # 50 epochs of ImageNet, CoOp's
    key_rate: float = 1e-3  # AdamW, Tip-Adapter-F's
    key_steps: int = 10_000  # 20 epochs of ImageNet
    batch: int = 32  # CoOp's
    near: int = 64  # features for a new class, section 3.3
    copies: int = 16  # of its sentence among them
    ratio: float = 50.0  # of the long tail
    largest: int = 100  # images of a class in it
    rounds: int = 100  # of expectation-maximisation, at most


PAPER = Config()
CPU = replace(
    PAPER, seeds=5, model='tiny_clip', sets=('shades', 'textures', 'outlines', 'digits'),
    data='textures', shifted=('posterised', 'sketched', 'inverted'), images=(2500, 1000),
    size=32, joint=64, classes=36, length=10, views=5, flip=0.0, penalties=(1e-3, 1e-2, 1e-1),
    iterations=25, grid=10, places=4, optimiser='adamw', prompt_rate=1e-2, prompt_steps=200,
    key_rate=1e-2, key_steps=200, largest=50, rounds=2,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, small=(('steps', 2), ('count', 40), ('batch', 8), ('widths', (4, 4, 8)),
                         ('text_depth', 1), ('joint', 8)),
    sets=('textures',), shifted=('inverted',), images=(150, 40), joint=8, shots=(2,), judged=1,
    views=1, grid=2, prompt_steps=2, key_steps=2, batch=8, near=4, largest=2, ratio=2.0,
)  # fmt: skip


def view(config, key, x):
    """A random view of each image."""
    of_crop, of_flip = jax.random.split(key)
    x = augment.random_resized_crop(of_crop, x, size=x.shape[1:3], scale=(config.area, 1.0))
    return augment.flip(of_flip, x, probability=config.flip)


@functools.lru_cache
def build(config, method='coop'):
    """(init, step): CoOp's prompts, or Tip-Adapter-F's keys, of all seeds side by side."""
    cosine = train.schedules.warmup_cosine
    many = {'learners': config.seeds, 'classes': config.classes}
    if method == 'coop':
        net = zoo.two_towers(config.model, **dict(config.small))
        make = train.sgd if config.optimiser == 'sgd' else train.adamw
        many |= {'places': config.places, 'length': config.length}
        return tuning.prompts(net, make(cosine(config.prompt_rate, config.prompt_steps)), **many)
    many |= {'count': config.classes * config.shots[-1], 'width': config.joint}
    return tuning.keys(train.adamw(cosine(config.key_rate, config.key_steps)), **many)


def inputs(config):
    rows = config.batch, config.seeds
    feature = jax.ShapeDtypeStruct((*rows, config.joint), jnp.float32)
    return {'feature': feature, 'label': jax.ShapeDtypeStruct(rows, jnp.int32)}


def load(config, name, split):
    """Images and labels of a set; for the small model, drawn with a seed that it has not seen."""
    if config.model not in zoo.small_models():
        return data.load(name, split, size=config.size)
    options = {'count': config.images[split == 'test'], 'size': config.size}
    return described.load(name, split, **options, seed=1)


def sentences(config, name):
    """Tokens of a set's sentences [P, K, T], and of those with places for a prompt [K, T]."""
    if config.model not in zoo.small_models():
        file = np.load(config.sentences)
        return file[name], file[f'{name}/prompt']
    templates = *captions.TEMPLATES, f'{captions.SPARE} ' * config.places + '{}'
    texts = described.sentences(name, templates=templates)
    *tokens, spare = (captions.encode(each, length=config.length) for each in texts)
    return np.stack(tokens), spare


class Set(NamedTuple):
    """A set as the model sees it: unit features, labels, sentences."""

    bank: np.ndarray  # random views to learn from [seeds, V, K, S, D]
    own: np.ndarray  # to validate with [seeds, K, J, D]
    z: np.ndarray  # of all training images [N, D]
    y: np.ndarray
    test: np.ndarray
    truth: np.ndarray  # labels of the test
    style: np.ndarray  # of the test's rows, by the name of the set: its own, or shifted
    words: tuple  # text [K, D] of all templates together, and the scale of logits
    tokens: np.ndarray  # of sentences with places [K, T]


@functools.partial(jax.jit, static_argnums=0)
def read(network, variables, each):
    """Text [P, K, D] of sentences [P, K, T], or of those with prompts [P, ...]."""
    return jax.lax.map(lambda some: zoo.encode_sentences(network, variables, *some), each)


def seen(config, ctx, name, towers, look):
    """A set through the two towers."""
    part, styles = load(config, name, 'train'), config.shifted if name == config.data else ()
    tests = {style: load(config, style, 'test') for style in (name, *styles)}
    test = np.concatenate([zoo.encode_images(towers, each['image']) for each in tests.values()])
    truth = [np.asarray(each['label']) for each in tests.values()]
    style, truth = np.repeat([*tests], [*map(len, truth)]), np.concatenate(truth)
    y, image = np.asarray(part['label']), part['image']
    z, (templates, tokens) = zoo.encode_images(towers, image), sentences(config, name)
    text = losses.normalise(read(*towers[:2], (templates,)).sum(0))
    banks, owns, most = [], [], config.shots[-1]
    for seed in ctx.seeds:
        rows = imbalance.choose(y, [most + config.judged] * len(text), seed=seed)
        rows = rows[np.argsort(y[rows], kind='stable')].reshape(len(text), -1)
        few, keys = image[rows[:, :most].ravel()], jax.random.split(ctx.key(seed), config.views)
        views = [zoo.encode_images(towers, few, view=look, key=key) for key in keys]
        banks.append(np.stack(views).reshape(config.views, len(text), most, -1))
        owns.append(z[rows[:, most:]])
    words = text, towers.scale
    return Set(np.stack(banks), np.stack(owns), z, y, test, truth, style, words, tokens)


def flat(z):
    """Features [V, K, S, D] as rows, and their classes."""
    views, classes, shots, width = z.shape
    return z.reshape(-1, width), jnp.tile(jnp.repeat(jnp.arange(classes), shots), views)


def best(score, values, own):
    """The first of some values for which logits of `own` [K, J, D] are right most often."""
    h, labels = flat(own[None])
    hits = jax.vmap(lambda value: (score(h, value).argmax(1) == labels).sum())(values)
    return values[hits.argmax()]


@functools.partial(jax.jit, static_argnums=0)
def with_keys(config, keys, values, own, test, text, scale):
    """Tip-Adapter with the best pair of its numbers."""
    axes = (jnp.linspace(0.1, most, config.grid) for most in (3, 7))
    pairs = jnp.stack(jnp.meshgrid(*axes), -1).reshape(-1, 2)
    near = lambda h, beta: algorithms.cache_logits(h, keys, values, sharpness=beta)
    score = lambda h, pair: scale * h @ text.T + pair[0] * near(h, pair[1])
    return score(test, best(score, pairs, own))


@functools.partial(jax.jit, static_argnums=0)
def learned(config, z, y, weight, own, test, text, scale):
    """{method: logits [N, K]} of the sentences, of features with labels, and of both."""
    found = algorithms.gaussian_discriminant(z, y, classes=len(text), weight=weight)
    with_text = lambda h, alpha: scale * h @ text.T + alpha * found.logits(h)
    alpha = best(with_text, jnp.asarray(config.alphas), own)
    x, judged, asked = evaluate.standardised(z, own.reshape(-1, z.shape[1]), test)
    fit = functools.partial(evaluate.fit_linear, x, y, iterations=config.iterations)
    penalties = jnp.asarray(config.penalties)
    weights, bias = jax.vmap(lambda l2: fit(l2=l2, classes=len(text)))(penalties)
    probe = lambda h, i: h @ weights[i] + bias[i][None]
    chosen = best(probe, jnp.arange(len(penalties)), judged.reshape(own.shape))
    return {
        'zero-shot': with_text(test, 0.0), 'gda alone': found.logits(test),
        'gda': with_text(test, alpha), 'linear probe': probe(asked, chosen),
    }  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def few_labels(config, few, weight, own, test, text, scale):
    """The same, of random views [V, K, S, D]; the nearest mean and Tip-Adapter."""
    means, keys = losses.normalise(few.mean((0, 2))), few.mean(0).reshape(-1, few.shape[-1])
    values = weight * jax.nn.one_hot(flat(few[:1])[1], len(text))
    return learned(config, *flat(few), weight, own, test, text, scale) | {
        'class means': test @ means.T,
        'tip-adapter': with_keys(config, keys, values, own, test, text, scale),
    }


@functools.partial(jax.jit, static_argnums=0)
def half_new(config, few, own, test, text, scale):
    """{method: logits [N, K]} where the second half of the classes has no images."""
    half = len(text) // 2
    z, y = flat(few[:, :half])
    base = algorithms.gaussian_discriminant(z, y, classes=half, log_prior=-jnp.log(half))
    new = algorithms.new_classes(z, text[half:], nearest=config.near, copies=config.copies)
    alone = lambda h: jnp.concatenate([base.logits(h), new.logits(h)], axis=1)
    both = lambda h, alpha: scale * h @ text.T + alpha * alone(h)
    alpha = best(lambda h, alpha: both(h, alpha)[:, :half], jnp.asarray(config.alphas), own[:half])
    return {'zero-shot': both(test, 0.0), 'gda': both(test, alpha)}


def trained(config, ctx, name, known, towers, few, weight, own):
    """[{method: logits [N, K]}] of the seeds: CoOp and Tip-Adapter-F, of views and their weight."""
    seeds, _, classes, _, width = few.shape
    y = np.repeat(np.asarray(flat(few[0])[1])[:, None], seeds, axis=1)
    rows = {'feature': np.moveaxis(few.reshape(seeds, -1, width), 0, 1), 'label': y}
    values, (text, scale) = weight * jax.nn.one_hot(flat(few[0, :1])[1], classes), known.words
    found, prompt = {}, {'frozen': tuning.text_tower(towers.variables), 'tokens': known.tokens}
    parts = {'coop': (config.prompt_steps, prompt),
             'tip-adapter-f': (config.key_steps, {'text': text, 'values': values})}  # fmt: skip
    for method, (steps, extra) in parts.items():
        init, step = build(replace(config, classes=classes), method)
        extra = jax.tree.map(jnp.array, extra | {'scale': scale})
        state = jax.jit(init)(ctx.key(ctx.seeds[0]))._replace(extra=extra)
        if method == 'tip-adapter-f':
            state = state._replace(params=jnp.asarray(few.mean(1).reshape(seeds, -1, width)))
        stream = data.batches(rows, min(config.batch, len(y)), seed=ctx.seeds[0])
        options = {'seed': ctx.seeds[0], 'name': f'{name}-{method}'}
        state, _ = ctx.fit(step, state, stream, steps=steps, **options)
        found[method] = state.params
    texts = read(*towers[:2], (np.stack([known.tokens] * seeds), found['coop']))
    pairs = zip(texts, found['tip-adapter-f'], own, strict=True)
    return [{'coop': scale * known.test @ prompted.T,
             'tip-adapter-f': with_keys(config, keys, values, o, known.test, *known.words)}
            for prompted, keys, o in pairs]  # fmt: skip


def right(logits, truth):
    return (logits.argmax(1) == truth).mean()


def record(ctx, found, truth, rows=slice(None), rare=None, **row):
    """The accuracy of every method in some rows, and of rare classes alone."""
    for method, logits in jax.device_get(found).items():
        few = {} if rare is None else {'few': right(logits[rare], truth[rare])}
        ctx.add(method=method, accuracy=right(logits[rows], truth[rows]), **few, **row)


def few_shot(config, ctx, name, known, towers):
    """Every method at every number of shots; fewer images are there more often, at less weight."""
    most = config.shots[-1]
    for shots in config.shots:
        judged, weight = min(shots, config.judged), shots / most
        few = np.tile(known.bank[:, :, :, :shots], (1, 1, 1, most // shots, 1))
        own = np.tile(known.own[:, :, :judged], (1, 1, config.judged // judged, 1))
        more = trained(config, ctx, f'{name}-{shots}', known, towers, few, weight, own)
        for seed, images, o, found in zip(ctx.seeds, few, own, more, strict=True):
            found |= few_labels(config, images, weight, o, known.test, *known.words)
            for style in dict.fromkeys(known.style if shots == most else [name]):
                row = {'study': 'few-shot' if style == name else 'shifted', 'data': str(style)}
                rows = known.style == style
                record(ctx, found, known.truth, rows, shots=shots, seed=seed, **row)


def without(config, ctx, name, known):
    """Classes without images, images without labels, many images of few classes alone."""
    (text, scale), classes, rows = known.words, len(known.words[0]), known.style == name
    test, truth, half = known.test[rows], known.truth[rows], classes // 2
    for seed, few, own in zip(ctx.seeds, known.bank, known.own, strict=True):
        row, base = {'data': name, 'seed': seed}, truth < half
        found = half_new(config, few, own, test, *known.words)
        for method, logits in jax.device_get(found).items():
            old = right(logits[base, :half], truth[base])
            new = right(logits[~base, half:], truth[~base] - half)
            both = 2 * old * new / max(old + new, 1e-9)
            ctx.add(study='new classes', method=method, base=old, new=new, both=both, **row)
        order = np.random.default_rng(seed).permutation
        some = known.z[order(len(known.z))[: len(known.z) * 4 // 5]]
        by_text, first = scale * test @ text.T, scale * some @ text.T
        mixture = algorithms.unlabelled_classes(some, first, iterations=config.rounds)
        alone = mixture.logits(test)
        found = {'zero-shot': by_text, 'em alone': alone, 'em': by_text + alone}
        record(ctx, found, truth, study='no labels', **row)
        if name == config.data:
            options = {'largest': config.largest, 'ratio': config.ratio}
            counts = imbalance.exponential(classes, **options)[order(classes)]
            some = imbalance.choose(known.y, counts, seed=seed)
            rare = np.isin(truth, np.argsort(counts, kind='stable')[: classes // 3])
            found = learned(config, known.z[some], known.y[some], 1.0, own, test, *known.words)
            record(ctx, found, truth, rare=rare, study='long tail', **row)


def curves(config, rows):
    """Mean accuracies over sets and seeds, of every method."""
    rows = [row for row in rows if row['study'] == 'few-shot']
    mean = lambda **at: np.mean([row['accuracy'] for row in rows if at.items() <= row.items()])
    methods = dict.fromkeys(row['method'] for row in rows)
    lines = {m: (config.shots, [mean(method=m, shots=n) for n in config.shots]) for m in methods}
    return figures.curves(lines, x='shots', y='accuracy', log_x=True)


def run(config, ctx):
    options = {'path': config.weights, 'side': config.size, **dict(config.small)}
    towers, look = zoo.towers(config.model, **options), functools.partial(view, config)
    for name in ctx.grid(data=config.sets):
        known = seen(config, ctx, name, towers, look)
        few_shot(config, ctx, name, known, towers)
        without(config, ctx, name, known)
    ctx.save_figure('shots', curves(config, ctx.rows))
    few, rivals = {'study': 'few-shot'}, ('linear probe', 'coop', 'tip-adapter-f')
    at = lambda n: few | {'shots': n}
    return ctx.report(
        *(Claim('accuracy', 'gda', 'zero-shot', where=at(n)) for n in config.shots),
        Claim('accuracy', 'gda', 'tip-adapter', 0.01, where=few),
        *(Claim('accuracy', 'gda', 'gda alone', 0.03, where=at(n)) for n in config.shots[:2]),
        *(Claim('accuracy', 'gda', m, -0.01, where=at(config.shots[-1])) for m in rivals),
        Claim('both', 'gda', 'zero-shot', where={'study': 'new classes'}),
        Claim('accuracy', 'em', 'zero-shot', 0.01, where={'study': 'no labels'}),
        Claim('few', 'gda', 'linear probe', where={'study': 'long tail'}),
    )


if __name__ == '__main__':
    experiment.main()
