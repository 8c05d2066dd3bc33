"""RotNet: to name the turn of an image, a network must know what is in it and which way is up.

Paper: Unsupervised Representation Learning by Predicting Image Rotations (Gidaris et al., 2018).

    L = -1/(N K) sum_i sum_(y = 1..K) log F_y( g(x_i | y) ),  g(. | y): a turn by 90 (y - 1) degrees

Quarter turns are transpositions and flips, which leave no trace; all K copies of an image are in
one batch. Beside it: turns by (0, 180), by (90, 270) and by all eighths, an autoencoder, the same
network on all labels, and on few of them, with its first blocks from RotNet or from scratch.

Claim: features of the early blocks classify far better than random ones or an autoencoder's, the
last block's are worse, and they are a better start where labels are few; figures that look the
same at every quarter turn leave nothing to predict and teach nothing.
Differences from the paper:
  1. The cpu preset has drawn upright objects of 24 x 24 pixels, folded 2 x 2 into channels before
  a narrow network of three blocks. 2. Every arm passes as many rows a step, 4 x batch: RotNet sees
  fewer images than two turns or an autoencoder do. 3. The non-linear probe has one hidden layer,
  not two; the convolutional one no batch norm; neither augments. 4. Few labels tune all blocks;
  the paper freezes those it keeps. 5. A ridge regression of masks and boxes of drawn objects
  stands for VOC. 6. No AlexNet, ImageNet, Places. 7. The random network has the data's statistics
  in its batch norm.

    python -m experiments.pretext.rotnet --preset=cpu
"""

import dataclasses
import functools
import itertools
from dataclasses import replace
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.linear_model import Ridge

from jssl import data, evaluate, experiment, losses, models, train
from jssl.data import augment
from jssl.data.rotations import rotate45
from jssl.evaluate.attention import attention_focus, attention_map
from jssl.evaluate.conv_probe import conv_probe
from jssl.evaluate.overlap import box_overlap, mask_overlap
from jssl.experiment import Claim, Range, figures

TURNS = {  # in eighths; other arms see images as they are
    'rotnet': (0, 2, 4, 6), 'rotnet-0-180': (0, 4), 'rotnet-90-270': (2, 6),
    'rotnet-8': (0, 1, 2, 3, 4, 5, 6, 7),
}  # fmt: skip
ARMS = {  # on which images; 'once' is on objects, with the first seed alone
    'objects': ('random', 'rotnet', 'rotnet-0-180', 'autoencoder'),
    'symmetric': ('random', 'rotnet'),
    'once': ('rotnet-90-270', 'rotnet-8', 'supervised'),
}
SHOWN = ('random', 'rotnet', 'supervised')  # in the picture, and with convolutional probes
GROUP = 8  # rows of a batch that hold whole sets of 1, 2, 4 or 8 copies


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'cifar10'  # section 3.1
    size: int = 32  # side of the images
    drawn: int | None = None  # training images of drawn sets; None is all
    classes: int = 10  # section 3.1
    fold: int = 1  # pixels along a side that become channels of one
    blocks: int = 4  # table 1
    width: int = 192  # of the blocks, official configuration
    batch: int = 128  # images of RotNet's batch, 4 rows each, section 3.1
    steps: int = 39_000  # 100 epochs, section 3.1
    learning_rate: float = 0.1  # section 3.1; with few labels, official configuration
    autoencoder_rate: float = 0.1  # not in the paper
    drops: tuple[float, ...] = (0.3, 0.6, 0.8)  # rate / 5 after epochs 30, 60, 80 of 100
    weight_decay: float = 5e-4  # section 3.1
    labels: tuple[int, ...] = (20, 100, 400, 1000, 5000)  # of a class, figure 4
    kept: int = 2  # blocks that few labels start from, table 3
    tune_batch: int = 128  # rows, official configuration
    tune_steps: int = 39_000  # 100 epochs, official configuration
    hidden: int = 200  # width of the non-linear probe, section 3.1
    probe_steps: int = 39_000  # 100 epochs, official configuration
    probe_batch: int = 128  # official configuration


PAPER = Config()
CPU = replace(
    PAPER, data='shapes', size=24, fold=2, blocks=3, width=32, batch=32, steps=250, hidden=100,
    labels=(10, 40, 160), tune_batch=32, tune_steps=300, probe_steps=300, probe_batch=256,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, drawn=96, width=4, batch=2, steps=2, hidden=4, labels=(1, 2), tune_batch=8,
    tune_steps=1, probe_steps=2, probe_batch=48,
)  # fmt: skip


class Network(nn.Module):
    """x [B, S, S, C] -> logits, the blocks' maps, and the folded x with its reconstruction."""

    config: Config

    @nn.compact
    def __call__(self, x, *, train=False):
        config, x = self.config, models.space_to_depth(4 * x - 2, self.config.fold)
        blocks = models.NetworkInNetwork(config.blocks, width=config.width, name='blocks')
        h, maps = blocks(x, taps=True, train=train)
        outputs = max(config.classes, GROUP)
        logits = nn.Dense(outputs, kernel_init=nn.initializers.zeros, name='head')(h)
        widths = (config.width,) * (3 if config.blocks > 3 else 2)  # as often as blocks pool
        made = models.Decoder(widths, channels=x.shape[-1], name='decoder')(maps[-1])
        return logits, maps, x, made


class Task(NamedTuple):
    """What an arm predicts from which copies, as numbers: one compiled step serves all arms."""

    source: jax.Array  # [8] the image of its group that a row shows
    eighths: jax.Array  # [8] that turn
    outputs: jax.Array  # K
    named: jax.Array  # whether the class is wanted, not the turn
    rate: jax.Array  # of learning, at the start
    steps: jax.Array


def start(config, method, variables, *, steps=None):
    """The state of an arm that goes on from a network's variables."""
    turns, named, slots = np.array(TURNS.get(method, (0,))), method not in TURNS, np.arange(GROUP)
    y = slots % len(turns)
    rates = {'random': 0.0, 'autoencoder': config.autoencoder_rate}
    rate = rates.get(method, config.learning_rate)
    facts = config.classes if named else len(turns), named, rate, steps or config.steps
    extra = variables['batch_stats'], Task(*map(jnp.asarray, (slots - y, turns[y], *facts)))
    return train.create(variables['params'], optimiser(config), extra=extra)


def optimiser(config):
    return train.sgd(1.0, nesterov=True, weight_decay=config.weight_decay)


@functools.lru_cache
def untrained(config):
    x = jnp.zeros((1, config.size, config.size, 3))
    return jax.jit(lambda key: Network(config).init(key, x))


def copies(task, images):
    """Rows [B, S, S, C] of which each image that is used has one for every turn; y int32 [B]."""
    groups = images.reshape(-1, GROUP, *images.shape[1:])
    x = groups[:, task.source].reshape(images.shape)
    turns = task.eighths, jnp.arange(GROUP) - task.source
    eighths, y = (jnp.tile(a, len(groups)) for a in turns)
    exact = lambda: augment.rotate90(x, eighths // 2)
    return jax.lax.cond((eighths % 2).any(), lambda: rotate45(x, eighths), exact), y


@functools.lru_cache
def descent(config, reconstructs):
    """The step of SGD, at a rate that the task tells."""

    def loss_fn(params, stats, task, batch, key):
        images = augment.flip(key, augment.to_float(batch['image']))
        x, turn = copies(task, images)
        variables, moves = {'params': params, 'batch_stats': stats}, ['batch_stats']
        out, moved = Network(config).apply(variables, x, train=True, mutable=moves)
        logits, _, x, made = out
        if reconstructs:
            return jnp.square(made - x).mean(), moved['batch_stats']
        y = jnp.where(task.named, batch['label'], turn)
        logits = jnp.where(jnp.arange(logits.shape[1])[None] < task.outputs, logits, -1e9)
        return losses.cross_entropy(logits, y).mean(), moved['batch_stats']

    def step(state, batch, key):
        stats, task = state.extra
        gradient = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, stats), grads = gradient(state.params, stats, task, batch, key)
        updates, opt_state = optimiser(config).update(grads, state.opt_state, state.params)
        rate = task.rate * 0.2 ** (state.step >= jnp.array(config.drops) * task.steps).sum()
        params = optax.apply_updates(state.params, jax.tree.map(lambda u: rate * u, updates))
        return train.State(params, opt_state, None, (stats, task), state.step + 1), {'loss': loss}

    return step


def build(config, method='rotnet'):
    """(init, step) of a pretext, or of the same network on labels ('supervised')."""
    init = lambda key: start(config, method, untrained(config)(key))
    return init, descent(config, method == 'autoencoder')


def inputs(config):
    return data.spec(config.data, 4 * config.batch, size=config.size)


def pair(config, name, **options):
    """A set's training and test columns, in memory."""
    if name == 'shapes':
        options |= {'size': config.size, 'count': config.drawn}
    sets = [data.load(name, split, **options) for split in ('train', 'test')]
    return [s if isinstance(s, dict) else next(data.epoch(s, len(s))) for s in sets]


@functools.lru_cache
def forward(config):
    return lambda variables, x: Network(config).apply(variables, x)[:2]


def read(config, state, images):
    """Logits, and the blocks' maps."""
    variables = {'params': state.params, 'batch_stats': state.extra[0]}
    return evaluate.features(jax.tree_util.Partial(forward(config), variables), images)


def own_accuracy(config, state, images, labels):
    """Accuracy on what an arm was trained for: every quarter turn of an image, or its class."""
    task = jax.device_get(state.extra[1])
    if not task.named:
        labels = np.tile(np.arange(task.outputs), len(images))
        images = np.repeat(images, task.outputs, axis=0)
        images = np.asarray(jax.jit(augment.rotate90)(images, task.eighths[labels] // 2))
    return evaluate.accuracy(read(config, state, images)[0][:, : task.outputs], labels)


def flat(x):
    return x.reshape(len(x), -1)


def probes(config, key, maps, labels, convolve):
    """Accuracies of a linear, a non-linear and a convolutional probe; maps are (train, test)."""
    (h, test_h), (y, test_y) = map(flat, maps), labels
    options = {'classes': config.classes, 'batch': config.probe_batch}
    epochs = max(1, config.probe_steps * config.probe_batch // len(y))
    linear = evaluate.linear_probe_sgd(key, h, y, test_h, test_y, epochs=epochs, **options)
    options |= {'steps': config.probe_steps}
    mlp = evaluate.mlp_probe(key, h, y, test_h, test_y, width=config.hidden, **options)
    if not convolve:
        return {'linear': linear, 'mlp': mlp}
    options |= {'width': config.width, 'learning_rate': 0.01}
    conv = conv_probe(key, maps[0], y, maps[1], test_y, **options)
    return {'linear': linear, 'mlp': mlp, 'conv': conv}


def pretrain(config, ctx, variables, kind, sets, seed):
    """Trains the arms of a kind on sets (train, test), and probes every block of each."""
    labels, once = [s['label'] for s in sets], seed == ctx.seeds[0] and kind != 'symmetric'
    for method in ARMS[kind]:
        row = {'set': 'objects' if kind == 'once' else kind, 'method': method, 'seed': seed}
        state = start(config, method, variables)
        stream = data.batches(sets[0], 4 * config.batch, seed=seed, fields=('image', 'label'))
        step, name = build(config, method)[1], f'{kind}-{method}-{seed}'
        # At rate 0 the random network finds the statistics that batch norm divides by.
        steps = min(config.steps, 30) if method == 'random' else config.steps
        state, _ = ctx.fit(step, state, stream, steps=steps, seed=seed, name=name)
        if method not in ('random', 'autoencoder', 'rotnet-8'):
            right = own_accuracy(config, state, sets[1]['image'], labels[1])
            ctx.add(study='own task', **row, own_accuracy=right)
        (_, maps), (_, test_maps) = (read(config, state, s['image']) for s in sets)
        mlp = []
        for block, both in enumerate(zip(maps, test_maps, strict=True), 1):
            found = probes(config, ctx.key(seed), both, labels, once and method in SHOWN)
            ctx.add(study='blocks', block=block, **row, **found)
            mlp.append(float(found['mlp']))
        ctx.add(study='best block', **row, best=max(mlp), lead=max(mlp[:-1]) - mlp[-1])
        yield method, state


def few_labels(config, ctx, variables, trained, sets, seed):
    """Networks on few labels, with the first blocks of a trained one and from scratch."""
    prefixes = tuple(f'block{i}_' for i in range(config.kept))
    pick = lambda new, old: {k: (new if k.startswith(prefixes) else old)[k] for k in old}
    own, old = {'params': trained.params, 'batch_stats': trained.extra[0]}, variables
    begun = {k: {**old[k], 'blocks': pick(own[k]['blocks'], old[k]['blocks'])} for k in old}
    arms, step, steps = {'fine-tuned': begun, 'scratch': old}, build(config)[1], config.tune_steps
    counts = config.labels if seed == ctx.seeds[0] else config.labels[:1]
    for labels, method in itertools.product(counts, arms):
        chosen = data.class_balanced(sets[0]['label'], labels, seed=seed)
        few = {name: sets[0][name][chosen] for name in ('image', 'label')}
        stream, name = data.batches(few, config.tune_batch, seed=seed), f'{method}-{labels}-{seed}'
        state = start(config, 'supervised', arms[method], steps=steps)
        state, _ = ctx.fit(step, state, stream, steps=steps, seed=seed, name=name)
        right = own_accuracy(config, state, sets[1]['image'], sets[1]['label'])
        ctx.add(study='few labels', method=method, labels=labels, seed=seed, tuned=right)


def look(config, ctx, method, state, upright, seed):
    """What a block tells of masks and boxes; where it attends, as a number and as pictures."""
    maps, test_maps = (read(config, state, s['image'])[1][: config.kept] for s in upright)
    h, test_h = map(np.asarray, evaluate.standardised(flat(maps[-1]), flat(test_maps[-1])))
    guess = lambda name: Ridge(0.1 * len(h)).fit(h, flat(upright[0][name])).predict(test_h)
    mask, box = upright[1]['mask'], upright[1]['box']
    mask_iou = mask_overlap(guess('mask').reshape(mask.shape) > 0.5, mask).mean()
    box_iou = box_overlap(guess('box'), box).mean()
    row, pictures = {'method': method, 'seed': seed}, {}
    ctx.add(study='dense', **row, mask_iou=mask_iou, box_iou=box_iou)
    for (block, h), p in itertools.product(enumerate(test_maps, 1), (1, 2, 4)):
        attention = attention_map(h, p=p)
        focus = attention_focus(attention, mask).mean()
        ctx.add(study='attention', block=block, p=p, **row, focus=focus)
        if p == 2 and method in SHOWN:
            strongest = attention.max((1, 2), keepdims=True)
            pictures[f'{method}, block {block}'] = attention / strongest
    return pictures


def run(config, ctx):
    upright = pair(config, 'shapes', upright=True)
    objects = upright if config.data == 'shapes' else pair(config, config.data)
    sets = {'objects': objects, 'symmetric': pair(config, 'shapes', symmetric=True)}
    pictures = {'image': upright[1]['image'][:8]}
    for seed in ctx.grid(seed=ctx.seeds):
        variables, first = untrained(config)(ctx.key(seed)), seed == ctx.seeds[0]
        for kind in ARMS if first else sets:
            images = sets.get(kind, objects)
            for method, state in pretrain(config, ctx, variables, kind, images, seed):
                if first and kind != 'symmetric':
                    pictures |= look(config, ctx, method, state, upright, seed)
                if (kind, method) == ('objects', 'rotnet'):
                    few_labels(config, ctx, variables, state, objects, seed)
    ctx.save_figure('attention', figures.images(pictures, columns=8))
    natural, control = {'set': 'objects'}, {'set': 'symmetric'}
    fewest = {'labels': config.labels[0]}
    return ctx.report(
        Claim('best', 'rotnet', 'random', 0.08, where=natural, paper='91.16 %, 72.50 % (table 3)'),
        Claim('best', 'rotnet', 'autoencoder', 0.03, where=natural),
        Claim('best', 'rotnet', 'rotnet-0-180', -0.01, where=natural, paper='89.06 %, 87.46 %'),
        Range('lead', low=0.0, where={'method': 'rotnet', **natural}, paper='27 points (table 1)'),
        Claim('tuned', 'fine-tuned', 'scratch', 0.05, where=fewest, paper='figure 4'),
        Range('own_accuracy', 0.2, 0.3, where={'method': 'rotnet', **control}),
        Claim('best', 'random', 'rotnet', -0.03, where=control),
    )


if __name__ == '__main__':
    experiment.main()
