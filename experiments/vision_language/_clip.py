"""CLIP: which caption belongs to which image is a better lesson than what the caption says.

Paper: Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).

    S = s I T',  I = unit(f(x) W_i), T = unit(g(t) W_t), s = exp(tau) <= 100
    L = (CE(S, arange(B)) + CE(S', arange(B))) / 2 over the global batch
    zero-shot: w_k = unit(mean_p T_kp) over templates p, class = argmax_k I w_k

Beside it, with the same image tower and budget: the caption's words, each by itself (bag of words);
one after another, from the image's tokens (caption model); the class of the image (supervised).

Claim: contrastive pre-training reaches a zero-shot accuracy with several times fewer images than
predicting captions does; it names pairs of shape and colour that no training image had; an ensemble
of templates beats one; a probe needs four or more labels a class to draw level.
Differences from the paper: 1. the cpu preset has 36 pairs of drawn shapes and colours, of which six
are held out, for the web's images; two-layer towers; words for byte pairs. 2. All objectives are
judged with one template, 'a photo of {}', of which the bag of words is asked the shape and the
colour, the caption model the likelihood. 3. Captions that come twice in a batch (`collisions`) stay
negatives, as in the paper. 4. Probes have labels of all pairs, those held out too.

    python -m experiments.vision_language.clip --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import data, evaluate, experiment, losses, models, train
from jssl.data import captions, domains, shapes
from jssl.experiment import Claim, Range, figures

METHODS = ('contrastive', 'bag of words', 'caption model', 'supervised')
ONE = (captions.TEMPLATES.index('a photo of {}'),)


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'wit'  # 400 million pairs from the web, section 2.2; or 'shapes'
    size: int = 224  # side of the images, section 2.5
    crop: float = 0.9  # least area of a square crop, the only augmentation (section 2.3)
    tower: str = 'resnet'  # RN50, table 19; or 'vit', table 20
    stages: tuple[int, ...] = (3, 4, 6, 3)  # of the residual network
    patch: int = 32  # of the transformer
    width: int = 64  # of the residual network's first stage; or of the transformer
    depth: int = 12  # of the transformer
    heads: int = 32  # of the pooling attention; or of the transformer
    text: tuple[int, int, int] = (512, 12, 8)  # width, depth and heads, section 2.4
    vocabulary: int = 49_408  # section 2.4
    length: int = 77  # of a caption, official code
    joint: int = 1024  # width of the joint space, table 19
    batch: int = 32_768  # section 2.5
    steps: int = 390_625  # 32 epochs
    warmup: int = 2000  # table 18
    learning_rate: float = 5e-4  # table 19
    weight_decay: float = 0.2  # table 18
    b2: float = 0.999  # table 18; 0.98 for transformers
    points: tuple[float, ...] = (0.5, 1.0)  # shares of the steps at which zero-shot is measured
    shots: tuple[int, ...] = (1, 2, 4, 8, 16)  # labels per class, figure 6
    kinds: int = 6  # of shapes, and of colours, that are drawn
    count: int = 12_000  # images drawn; a tenth of it for validation, a twentieth for test
    penalty: float = 1e-2  # of probes


PAPER = Config()
CPU = replace(
    PAPER, data='shapes', size=24, stages=(1, 1), width=24, heads=4, text=(64, 2, 2),
    vocabulary=len(captions.WORDS), length=captions.LENGTH, joint=64, batch=128, steps=400,
    warmup=40, learning_rate=3e-3, b2=0.98, points=(0.125, 0.25, 0.5, 1.0), shots=(1, 2, 4, 8),
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, tower='vit', patch=8, width=16, depth=1, heads=1, text=(16, 1, 1), joint=8,
    batch=8, steps=2, points=(0.5, 1.0), shots=(1,), count=1000,
)  # fmt: skip


class Labeller(nn.Module):
    """An image tower and one layer: words of a caption, or classes."""

    image: nn.Module
    outputs: int

    @nn.compact
    def __call__(self, images, *, train=False):
        h = self.image(images, train=train)
        return nn.Dense(self.outputs)(h[:, 0] if h.ndim == 3 else h)


@functools.lru_cache
def network(config, method):
    if config.tower == 'resnet':
        trunk = models.AveragedResNet(config.stages, width=config.width)
        image = models.AttentionPooled(trunk, config.heads)
    else:
        sizes = config.patch, config.width, config.depth, config.heads
        image = models.ViT(*sizes, positions='learned', stem_norm=True, pooling=None)
    text, words = models.Transformer(*config.text, causal=True), config.vocabulary
    match method:
        case 'contrastive':
            return models.CLIP(image, models.TextEncoder(words, config.length, text), config.joint)
        case 'caption model':
            return models.Captioner(image, models.CausalLM(words, text))
    return Labeller(image, words if method == 'bag of words' else config.kinds**2)


def bag(config, tokens):
    """Which words are in sentences [B, T]: [B, V], the filling 0 left out."""
    rows, none = jnp.arange(len(tokens))[:, None], jnp.zeros((len(tokens), config.vocabulary))
    return none.at[rows, tokens].set(1).at[:, 0].set(0)


def likelihood(logits, tokens):
    """Mean log-probability [B] of the words of sentences [B, T] behind the first."""
    each = -optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return jnp.mean(each, axis=1, where=tokens[:, 1:] > 0)


def objective(config, method, out, tokens, label):
    """The loss of every example [B]."""
    match method:
        case 'contrastive':
            return losses.clip(*out[:2], logit_scale=out[2])
        case 'bag of words':
            return optax.sigmoid_binary_cross_entropy(out, bag(config, tokens)).sum(1)
        case 'caption model':
            return -likelihood(out, tokens)
    return losses.cross_entropy(out, label)


@functools.lru_cache
def build(config, method='contrastive'):
    """(init, step): pure."""
    net = network(config, method)
    rate = train.schedules.warmup_cosine(config.learning_rate, config.steps, warmup=config.warmup)
    optimiser = train.adamw(rate, weight_decay=config.weight_decay, b2=config.b2)
    captioned = method in ('contrastive', 'caption model')
    given = lambda images, tokens: (images, tokens) if captioned else (images,)

    def init(key):
        images = jnp.zeros((2, config.size, config.size, 3))
        extra = dict(net.init(key, *given(images, jnp.zeros((2, config.length), jnp.int32))))
        return train.create(extra.pop('params'), optimiser, extra=extra)

    def loss_fn(params, state, batch, key):
        images, area = data.augment.to_float(batch['image']), (config.crop, 1.0)
        images = data.augment.random_resized_crop(
            key, images, size=config.size, scale=area, ratio=(1.0, 1.0)
        )
        inputs, variables = given(images, batch['tokens']), {'params': params, **state.extra}
        out, new = net.apply(variables, *inputs, train=True, mutable=list(state.extra))
        return objective(config, method, out, batch['tokens'], batch['label']).mean(), {}, dict(new)

    follow = train.gradient_step(loss_fn, optimiser)

    def step(state, batch, key):
        state, metrics = follow(state, batch, key)
        if method == 'contrastive':
            scale = jnp.minimum(state.params['log_scale'], models.clip.LARGEST)
            state = state._replace(params={**state.params, 'log_scale': scale})
        return state, metrics

    return init, step


def inputs(config):
    shape = lambda *of, dtype=np.int32: jax.ShapeDtypeStruct((config.batch, *of), dtype)
    image = shape(config.size, config.size, 3, dtype=np.uint8)
    return {'image': image, 'tokens': shape(config.length), 'label': shape()}


def load(config, split):
    """Images, a caption each, their pair of shape and colour, and whether it is held out."""
    if config.data != 'shapes':
        return data.load(config.data, split, size=config.size)
    count = config.count // {'train': 1, 'validation': 10, 'test': 20}[split]
    kinds, ids = range(config.kinds), captions.KNOBS['class_ids']
    knobs = {'class_ids': ids[: len(captions.TEXTURES) * config.kinds], 'colours': kinds}
    knobs |= {'background': 'plain', 'clutter': 0}
    drawn = shapes.dataset(split, count=count, size=config.size, **captions.KNOBS | knobs)
    known = captions.factors(drawn)
    tokens = captions.encode(captions.describe(known, seed=0), length=config.length)
    unseen = (known['shape'] - known['colour']) % config.kinds == 1  # one colour of every shape
    label = (config.kinds * known['shape'] + known['colour']).astype(np.int32)
    found = {'image': drawn['image'], 'tokens': tokens, 'label': label, 'unseen': unseen}
    return data.rows(found, np.flatnonzero(~unseen)) if split == 'train' else found


def sentences(config):
    """Tokens [P, K, T] of every template about every pair, T of the longest."""
    kinds = range(config.kinds)
    texts = captions.sentences(shape=kinds, colour=kinds)
    tokens = np.stack([captions.encode(each, length=config.length) for each in texts])
    return tokens[..., : (tokens > 0).any((0, 1)).sum()]


@functools.lru_cache
def scorer(config, method):
    """((variables, sentences [P, K, T]), images) -> scores [B, K]."""
    net = network(config, method)

    def score(given, images):
        variables, tokens = given
        match method:
            case 'contrastive':
                z = net.apply(variables, images, method='encode_image')
                flat = tokens.reshape(-1, tokens.shape[-1])
                text = net.apply(variables, flat, method='encode_text')
                return models.zero_shot(z, text.reshape(*tokens.shape[:2], -1))
            case 'bag of words':  # the words in which a class differs from some other one
                words = bag(config, tokens[0])
                words = words * (words.mean(0) < 1)[None]
                found = jax.nn.log_sigmoid(net.apply(variables, images))
                return found @ words.T / words.sum(1)[None]
            case 'caption model':
                each = lambda text: jnp.broadcast_to(text[None], (len(images), len(text)))
                score = lambda text: likelihood(net.apply(variables, images, text), text)
                return jax.lax.map(lambda text: score(each(text)), tokens[0]).T
        return net.apply(variables, images)

    return score


@functools.lru_cache
def tower(config, method):
    """(variables, images) -> h [B, D] of the image tower, before any projection."""
    image = network(config, method).image

    def features(variables, images):
        h = image.apply({name: tree['image'] for name, tree in variables.items()}, images)
        return h[:, 0] if h.ndim == 3 else h

    return features


def correct(config, method, variables, part, templates=ONE):
    """Whether the highest of an image's scores is its label's: [N]."""
    tokens = sentences(config)[list(templates)]
    score = jax.tree_util.Partial(scorer(config, method), (variables, tokens))
    return evaluate.features(score, part['image']).argmax(1) == part['label']


def learn(config, ctx, method, seed, parts):
    """Trains from point to point, and measures at each; the last variables, and the curve."""
    state, step = build(config, method)
    done, seen, right, test = 0, [0], [0.0], parts['test']
    for place, point in enumerate(config.points):
        until, order = round(point * config.steps), 1000 * place + seed
        stream = data.batches(parts['train'], config.batch, seed=order, fields=(*inputs(config),))
        name = f'{method}-{until}-{seed}'.replace(' ', '-')
        state, _ = ctx.fit(step, state, stream, steps=until - done, seed=order, name=name)
        variables, done = {'params': state.params, **state.extra}, until
        found = correct(config, method, variables, test)
        row = {'method': method, 'step': until, 'seed': seed}
        ctx.add(**row, pairs='all', accuracy=found.mean())
        ctx.add(**row, pairs='held out', accuracy=found[test['unseen']].mean())
        seen.append(until * config.batch)
        right.append(found.mean())
    # Twice all of them where half is never right.
    best = [*np.maximum.accumulate(right), max(0.5, *right) + 1e-9]
    ctx.add(method=method, seed=seed, images_to_half=np.interp(0.5, best, [*seen, 2 * seen[-1]]))
    return variables, (seen, right)


def transfer(config, ctx, method, seed, variables, parts):
    """Other styles, and linear probes of pairs and of digits; returns h of both parts of pairs."""
    row, test = {'method': method, 'seed': seed}, parts['test']
    x = data.augment.to_float(test['image'])
    noisy = x + 0.15 * jax.random.normal(ctx.key(seed), x.shape)
    styles = {'as drawn': x, 'outline': domains.sketch(x), 'noise': noisy, 'inverted': 1 - x}
    for style, images in styles.items():
        right = correct(config, method, variables, test | {'image': images})
        ctx.add(**row, style=style, styled=right[~test['unseen']].mean())
    look = jax.tree_util.Partial(tower(config, method), variables)
    for probed, pair in (('digits', parts['digits']), ('pairs', (parts['validation'], test))):
        h = [evaluate.features(look, part['image']) for part in pair]
        rows = h[0], pair[0]['label'], h[1], pair[1]['label']
        ctx.add(**row, probed=probed, linear=evaluate.linear_probe(*rows, l2=config.penalty))
    return h


def use_of_words(config, ctx, seed, variables, h, parts):
    """Zero-shot by one template and by all, against probes of few labels; retrieval."""
    labelled, test, factors = parts['validation'], parts['test'], {'seed': seed}
    templates = range(len(captions.TEMPLATES))
    by = lambda *some: correct(config, METHODS[0], variables, test, some).mean()
    whole = by(*templates)
    ctx.add(**factors, templates='ensemble', zero_shot=whole)
    ctx.add(**factors, templates='one', zero_shot=np.mean([by(each) for each in templates]))
    needed, most = 2 * max(config.shots), max(config.shots)
    for shots in reversed(config.shots):
        rows = data.class_balanced(labelled['label'], shots, seed=seed)
        rows = np.tile(rows, most // shots)  # as many as of the most: one program
        few = h[0][rows], labelled['label'][rows], h[1], test['label']
        score = evaluate.linear_probe(*few, l2=config.penalty)
        ctx.add(**factors, shots=shots, few_labels=score)
        needed = shots if float(score) >= whole else needed
    ctx.add(**factors, shots_to_zero_shot=float(needed))
    score = jax.tree_util.Partial(scorer(config, METHODS[0]), (variables, test['tokens'][None]))
    alike, scores = same(test['tokens'], test['tokens']), evaluate.features(score, test['image'])
    for asked, s in (('image', scores), ('text', scores.T)):
        ctx.add(**factors, asked=asked, recall_at_5=evaluate.recall_at_k(s, alike, k=5).mean())


def same(a, b):
    """Which sentences [N, T] and [M, T] are equal, word for word: [N, M]."""
    return (a[:, None] == b[None]).all(-1)


def overlap(config, ctx, train, test):
    """What of the test is in training: sentences word for word, images nearly."""
    texts, held_out = sentences(config), np.unique(test['label'][test['unseen']])
    for pairs, mine in (('all', texts), ('held out', texts[:, held_out])):
        known = [same(each, train['tokens'][:, : texts.shape[2]]).any(1) for each in mine]
        ctx.add(pairs=pairs, seed=ctx.seeds[0], sentences_seen=np.mean(known))
    small = [data.resized(part, (8, 8, 3))['image'].reshape(-1, 192) for part in (train, test)]
    near = losses.similarity.cosine_matrix(*(x - x.mean(1, keepdims=True) for x in small)).max(0)
    collisions = (same(*[train['tokens'][: config.batch]] * 2).sum(1) > 1).mean()
    ctx.add(seed=ctx.seeds[0], collisions=collisions, images_seen=(near > 0.98).mean())


def run(config, ctx):
    parts = {split: load(config, split) for split in ('train', 'validation', 'test')}
    grey = [data.load('digits', split) for split in ('train', 'test')]
    grey = [data.resized(part, (config.size, config.size, 1)) for part in grey]
    parts['digits'] = [part | {'image': np.repeat(part['image'], 3, -1)} for part in grey]
    overlap(config, ctx, parts['train'], parts['test'])
    curves = {}
    for method, seed in ctx.grid(method=METHODS, seed=ctx.seeds):
        variables, curve = learn(config, ctx, method, seed, parts)
        curves.setdefault(method, curve)
        if method in ('contrastive', 'supervised'):
            h = transfer(config, ctx, method, seed, variables, parts)
        if method == 'contrastive':
            use_of_words(config, ctx, seed, variables, h, parts)
    ctx.save_figure('images', figures.curves(curves, x='images', y='zero-shot accuracy'))
    half, last = (round(point * config.steps) for point in config.points[-2:])
    early, late = {'step': half, 'pairs': 'all'}, {'step': last, 'pairs': 'held out'}
    ours, words, text, labels = METHODS
    return ctx.report(
        Claim('accuracy', ours, words, 0.03, where=early, paper='figure 2'),
        Claim('accuracy', ours, text, 0.1, where=early, paper='figure 2'),
        Claim('images_to_half', ours, words, ratio=1.0, lower=True, paper='1 / 4, figure 2'),
        Claim('images_to_half', ours, text, ratio=1.0, lower=True, paper='1 / 12, figure 2'),
        Range('accuracy', low=0.25, where={'method': ours, **late}),
        Claim('accuracy', ours, words, 0.08, where=late),
        Range('accuracy', high=0.01, where={'method': labels, **late}),
        Claim('zero_shot', 'ensemble', 'one', by='templates', paper='3.5 points, section 3.1.4'),
        Range('shots_to_zero_shot', low=4.0, paper='4, figure 6'),
    )


if __name__ == '__main__':
    experiment.main()
