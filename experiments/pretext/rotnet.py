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
  a narrow network of three blocks, and digits, some of which look the same upside down. 2. As in
  the paper a batch has as many images for every K, so fewer rows for a smaller K; the cpu preset's
  rate is tuned for each. The arms without turns get 4 x as many images, RotNet's rows. 3. The
  non-linear probe has one hidden layer, not two; the convolutional one no batch norm; neither
  augments. 4. Few labels tune all blocks; the paper freezes those it keeps. 5. A ridge regression
  of masks and boxes of drawn objects stands for VOC. 6. No AlexNet, ImageNet, Places. 7. The random
  network has the data's statistics in its batch norm.

    python -m experiments.pretext.rotnet --preset=cpu
"""

import dataclasses
import functools
import itertools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import Ridge

from jssl import data, evaluate, experiment, losses, models, train
from jssl.data import augment
from jssl.data.rotations import every_turn
from jssl.experiment import Claim, Range, figures

TURNS = {  # in eighths; other arms see images as they are
    'rotnet': (0, 2, 4, 6), 'rotnet-0-180': (0, 4), 'rotnet-90-270': (2, 6),
    'rotnet-8': (0, 1, 2, 3, 4, 5, 6, 7),
}  # fmt: skip
ARMS = {  # on which images
    'objects': ('random', 'rotnet', 'rotnet-0-180', 'autoencoder'),
    'symmetric': ('random', 'rotnet'),
}
SHOWN = ('random', 'rotnet', 'supervised')  # in the picture, and with every probe


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'cifar10'  # section 3.1
    size: int = 32  # side of the images
    drawn: int | None = None  # training images of drawn sets; None is all
    classes: int = 10  # section 3.1
    fold: int = 1  # pixels along a side that become channels of one
    blocks: int = 4  # table 1
    width: int = 192  # of the blocks, official configuration
    batch: int = 128  # images, each at all its turns, section 3.1
    steps: int = 39_000  # 100 epochs, section 3.1
    learning_rate: float = 0.1  # section 3.1
    smaller_rate: float = 0.1  # of two turns and of labels, which have fewer rows; section 3.1
    autoencoder_rate: float = 0.1  # not in the paper
    drops: tuple[float, ...] = (0.3, 0.6, 0.8)  # rate / 5 after epochs 30, 60, 80 of 100
    weight_decay: float = 5e-4  # section 3.1
    once: tuple[str, ...] = ('rotnet-90-270', 'rotnet-8', 'supervised')  # first seed, tables 2, 3
    labels: tuple[int, ...] = (20, 100, 400, 1000, 5000)  # of a class, figure 4
    kept: int = 2  # blocks that few labels start from, table 3
    tune_batch: int = 128  # images with few labels, official configuration
    hidden: int = 200  # width of the non-linear probe, section 3.1
    probe_steps: int = 39_000  # 100 epochs, official configuration
    probe_batch: int = 128  # official configuration


PAPER = Config()
CPU = replace(
    PAPER, data='shapes', size=24, drawn=3500, fold=2, blocks=3, width=24, batch=16, steps=500,
    learning_rate=0.2, autoencoder_rate=0.2, drops=(0.5, 0.75, 0.9), labels=(10, 40, 160),
    tune_batch=32, hidden=100, probe_steps=300, probe_batch=256,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, drawn=96, width=4, batch=8, steps=2, once=('rotnet-8',), hidden=4, labels=(1, 2),
    tune_batch=8, probe_steps=2, probe_batch=48,
)  # fmt: skip


class Network(nn.Module):
    """x [B, S, S, C] -> logits, the blocks' maps, and the folded x with its reconstruction."""

    config: Config

    @nn.compact
    def __call__(self, x, *, train=False):
        config, x = self.config, models.space_to_depth(4 * x - 2, self.config.fold)
        blocks = models.NetworkInNetwork(config.blocks, width=config.width, name='blocks')
        h, maps = blocks(x, taps=True, train=train)
        logits = nn.Dense(max(config.classes, 8), kernel_init=nn.initializers.zeros, name='head')(h)
        widths = (config.width,) * (3 if config.blocks > 3 else 2)  # as often as blocks pool
        made = models.Decoder(widths, channels=x.shape[-1], name='decoder')(maps[-1])
        return logits, maps, x, made


@functools.lru_cache
def build(config, method='rotnet'):
    """(init, step) of a pretext, or of the same network on labels ('supervised')."""
    network, turns = Network(config), TURNS.get(method)
    # The random network only finds the statistics that batch norm divides by.
    rates = {'random': 0.0, 'autoencoder': config.autoencoder_rate}
    rates |= dict.fromkeys(('rotnet-0-180', 'rotnet-90-270', 'supervised'), config.smaller_rate)
    drops = tuple(int(share * config.steps) for share in config.drops)
    rate = rates.get(method, config.learning_rate)
    rate = train.schedules.step_decay(rate, drops, factor=0.2)
    optimiser = train.sgd(rate, nesterov=True, weight_decay=config.weight_decay)

    def init(key):
        variables = network.init(key, jnp.zeros((1, config.size, config.size, 3)))
        return train.create(variables['params'], optimiser, extra=variables['batch_stats'])

    def loss_fn(params, state, batch, key):
        x, y = augment.flip(key, augment.to_float(batch['image'])), batch['label']
        if turns:
            x, y = every_turn(x, eighths=turns)
        variables = {'params': params, 'batch_stats': state.extra}
        out, moved = network.apply(variables, x, train=True, mutable=['batch_stats'])
        logits, _, x, made = out
        if method == 'random':
            loss = jnp.zeros(())
        elif method == 'autoencoder':
            loss = jnp.square(made - x).mean()
        else:
            answers = len(turns) if turns else config.classes
            loss = losses.cross_entropy(logits[:, :answers], y).mean()
        return loss, {}, moved['batch_stats']

    return init, train.gradient_step(loss_fn, optimiser)


@functools.lru_cache
def start(config, seed):
    """The state that all arms of a seed begin with."""
    return jax.jit(build(config)[0])(jax.random.key(seed))


def inputs(config):
    return data.spec(config.data, config.batch, size=config.size)


def pair(config, name, **options):
    """A set's training and test columns, in memory."""
    if name == 'shapes':
        options |= {'size': config.size, 'count': config.drawn}
    sets = [data.columns(data.load(name, split, **options)) for split in ('train', 'test')]
    if name == 'mnist5k':
        sets = [data.resized(s, (config.size, config.size, 1)) for s in sets]
        sets = [s | {'image': np.repeat(np.uint8(255 * s['image']), 3, axis=3)} for s in sets]
        sets[0] = data.rows(sets[0], slice(config.drawn))
    return sets


@functools.lru_cache
def forward(config):
    return lambda variables, x: Network(config).apply(variables, x)[:2]


def read(config, state, images):
    """Logits, and the blocks' maps."""
    variables = {'params': state.params, 'batch_stats': state.extra}
    return evaluate.features(jax.tree_util.Partial(forward(config), variables), images)


def probes(config, key, maps, labels, *, every):
    """Accuracies of a non-linear probe, or of all three; maps and labels are (train, test)."""
    (h, test_h), (y, test_y) = (flat(m) for m in maps), labels
    options = {'classes': config.classes, 'steps': config.probe_steps, 'batch': config.probe_batch}
    found = {'mlp': evaluate.mlp_probe(key, h, y, test_h, test_y, width=config.hidden, **options)}
    if every:
        options |= {'width': config.width, 'learning_rate': 0.01}
        found['conv'] = evaluate.conv_probe(key, maps[0], y, maps[1], test_y, **options)
        found['linear'] = evaluate.linear_probe(h, y, test_h, test_y, classes=config.classes)
    return found


def flat(x):
    return x.reshape(len(x), -1)


def measure(config, ctx, kind, method, sets, seed):
    """Trains an arm on sets (train, test), tries it on its own task, and probes every block."""
    labels, row = [s['label'] for s in sets], {'set': kind, 'method': method, 'seed': seed}
    images = config.batch * (1 if method in TURNS else 4)
    stream = data.batches(sets[0], images, seed=seed, fields=('image', 'label'))
    steps = min(config.steps, 30) if method == 'random' else config.steps
    step, name = build(config, method)[1], f'{kind}-{method}-{seed}'
    state, _ = ctx.fit(step, start(config, seed), stream, steps=steps, seed=seed, name=name)
    (_, maps), (_, test_maps) = (read(config, state, s['image']) for s in sets)
    if method in ('rotnet', 'rotnet-0-180', 'rotnet-90-270'):
        x, y = jax.device_get(every_turn(sets[1]['image'], eighths=TURNS[method]))
        right = read(config, state, x)[0][:, : len(TURNS[method])].argmax(1) == y
        ctx.add(study='own task', **row, own_accuracy=right.mean())
        of = np.repeat(labels[1], len(TURNS[method]))
        for digit in range(10) if kind == 'digits' else ():
            ctx.add(study='own task', digit=digit, **row, own_accuracy=right[of == digit].mean())
    mlp, every = [], (kind, seed) == ('objects', ctx.seeds[0]) and method in SHOWN
    for block, both in enumerate(zip(maps, test_maps, strict=True), 1):
        found = probes(config, ctx.key(seed), both, labels, every=every)
        ctx.add(study='blocks', block=block, **row, **found)
        mlp.append(float(found['mlp']))
    ctx.add(study='best block', **row, best=max(mlp), lead=max(mlp[:-1]) - mlp[-1])
    return state


def grafted(config, begun, trained):
    """A state that has not been trained but for its first blocks."""
    kept = tuple(f'block{i}_' for i in range(config.kept))
    pick = lambda path, old, new: new if any(k in jax.tree_util.keystr(path) for k in kept) else old
    merge = functools.partial(jax.tree_util.tree_map_with_path, pick)
    params, extra = merge(begun.params, trained.params), merge(begun.extra, trained.extra)
    return begun._replace(params=params, extra=extra)


def few_labels(config, ctx, trained, sets, seed):
    """Networks on few labels, with the first blocks of a trained one and from scratch."""
    begun, (_, step) = start(config, seed), build(config, 'supervised')
    arms = {'fine-tuned': grafted(config, begun, trained), 'scratch': begun}
    counts = config.labels if seed == ctx.seeds[0] else config.labels[:1]
    for labels, method in itertools.product(counts, arms):
        few = data.rows(sets[0], data.class_balanced(sets[0]['label'], labels, seed=seed))
        options = {'steps': config.steps, 'seed': seed, 'name': f'{method}-{labels}-{seed}'}
        stream = data.batches(few, config.tune_batch, seed=seed, fields=('image', 'label'))
        state, _ = ctx.fit(step, arms[method], stream, **options)
        logits, _ = read(config, state, sets[1]['image'])
        right = evaluate.accuracy(logits[:, : config.classes], sets[1]['label'])
        ctx.add(study='few labels', method=method, labels=labels, seed=seed, tuned=right)


def look(config, ctx, method, state, upright, seed):
    """What a block tells of masks and boxes; where it attends, as a number and as pictures."""
    maps, test_maps = (read(config, state, s['image'])[1][: config.kept] for s in upright)
    h, test_h = map(np.asarray, evaluate.standardised(flat(maps[-1]), flat(test_maps[-1])))
    guess = lambda name: Ridge(0.1 * len(h)).fit(h, flat(upright[0][name])).predict(test_h)
    mask, box = upright[1]['mask'], upright[1]['box']
    mask_iou = evaluate.mask_overlap(guess('mask').reshape(mask.shape) > 0.5, mask).mean()
    box_iou = evaluate.box_overlap(guess('box'), box).mean()
    row, pictures = {'method': method, 'seed': seed}, {}
    ctx.add(study='dense', **row, mask_iou=mask_iou, box_iou=box_iou)
    for (block, h), p in itertools.product(enumerate(test_maps, 1), (1, 2, 4)):
        attention = evaluate.attention_map(h, p=p)
        focus = evaluate.attention_focus(attention, mask).mean()
        ctx.add(study='attention', block=block, p=p, **row, focus=focus)
        if p == 2 and method in SHOWN:
            strongest = attention.max((1, 2), keepdims=True)
            pictures[f'{method}, block {block}'] = np.asarray(attention / strongest)
    return pictures


def run(config, ctx):
    upright = pair(config, 'shapes', upright=True)
    objects = upright if config.data == 'shapes' else pair(config, config.data)
    symmetric, digits = pair(config, 'shapes', symmetric=True), pair(config, 'mnist5k')
    sets = {'objects': objects, 'symmetric': symmetric, 'digits': digits}
    pictures = {'image': upright[1]['image'][:8]}
    for seed in ctx.grid(seed=ctx.seeds):
        first = seed == ctx.seeds[0]
        arms = {'objects': ARMS['objects'] + config.once, 'digits': ARMS['symmetric']}
        for kind, methods in (ARMS | arms if first else ARMS).items():
            for method in methods:
                state = measure(config, ctx, kind, method, sets[kind], seed)
                if (kind, method) == ('objects', 'rotnet'):
                    few_labels(config, ctx, state, objects, seed)
                if first and kind == 'objects':
                    pictures |= look(config, ctx, method, state, upright, seed)
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
