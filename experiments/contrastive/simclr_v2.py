"""SimCLR v2: pre-train big by contrast, fine-tune on a few labels, distil into a small network.

Paper: Big Self-Supervised Models are Strong Semi-Supervised Learners (Chen et al., 2020).

    pre-train   NT-Xent on z = g(f(x)), tau = 0.1, queue of an EMA network as further negatives
    fine-tune   logits = W g_m(f(x)) from layer m of the three of the head g; m = 0 is f(x) itself
    distil      L = -(1 - a) sum log P_S(y | x) - a sum_y P_T(y | x; tau_d) log P_S(y | x; tau_d)

Claim: pre-training and fine-tuning beat training on the few labels alone; the fewer the labels, the
more a bigger network helps; distilling the big one into the small one beats fine-tuning the small
one; the middle of the head is no worse a place to fine-tune from than its input.
Differences from the paper: 1. the cpu preset has MNIST-5000 for ImageNet and small convolutional
nets for ResNets. 2. It trains with AdamW: LARS is for batches of thousands. 3. 5 and 50 labels per
class stand for 1 % and 10 %. 4. Digits are neither mirrored nor blurred. 5. The control and the
students have the head too, and read its first layer. 6. Self-distillation has the temperature of
distillation from big to small. 7. The rates of fine-tuning and of the control were chosen on seeds
100 to 102.

    python -m experiments.contrastive.simclr_v2 --preset=cpu
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

from jssl import data, evaluate, experiment, losses, models, train
from jssl.experiment import Claim, figures
from jssl.train import schedules


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'imagenet2012'  # section 3.1
    size: int = 224  # side of a view
    classes: int = 1000  # section 3.1
    encoders: str = 'resnet'  # resnet50 and resnet152 3x SK; or 'convnet'
    widths: tuple[int, int] = (64, 192)  # small and big: of the first stage
    patch: int = 1  # side of the patches that become channels before the first layer
    projection: int = 128  # width of z, section 3.1
    batch: int = 4096  # section 3.1
    steps: int = 250_000  # 800 epochs
    optimiser: str = 'lars'  # or 'adamw'
    learning_rate: float = 6.4  # 0.1 sqrt(batch)
    weight_decay: float = 1e-4  # section 3.1
    temperature: float = 0.1  # section 3.1
    memory: int = 65_536  # rows of the queue; 0 is SimCLR v1's loss (section 2)
    decay: float = 0.999  # of the EMA network, section 2
    strength: float = 1.0  # of colour jitter
    crop: float = 0.08  # least area of a view
    blur: float = 0.5  # probability of blurring a view
    flip: float = 0.5  # probability of mirroring a view; digits are not mirrored
    labels: tuple[int, int] = (13, 128)  # per class: 1 % and 10 % of ImageNet
    tune_batch: int = 1024  # section 3.1
    tune_steps: int = 750  # 60 epochs of 1 %, section 3.1
    tune_rates: tuple[float, float] = (0.16, 0.064)  # small and big, section 3.1
    scratch_steps: int = 7500  # of the supervised control, longer than fine-tuning
    scratch_rates: tuple[float, float] = (1.6, 1.6)  # small and big
    distil_steps: int = 125_000  # 400 epochs, section 3.1
    distil_rate: float = 6.4  # as in pre-training, section 3.1
    distil_temperature: float = 1.0  # from big to small, section 3.1
    mix: float = 1.0  # a, the weight of distillation


PAPER = Config()
CPU = replace(
    PAPER, data='mnist5k', size=28, classes=10, encoders='convnet', widths=(8, 32), patch=2,
    projection=64, batch=128, steps=500, optimiser='adamw', learning_rate=1e-2, memory=1024,
    decay=0.99, strength=0.5, crop=0.4, blur=0.0, flip=0.0, labels=(5, 50), tune_batch=50,
    tune_steps=400, tune_rates=(3e-3, 1e-3), scratch_steps=400, scratch_rates=(1e-2, 3e-3),
    distil_steps=300, distil_rate=1e-2,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, widths=(4, 8), batch=8, steps=2, memory=16, tune_steps=2, scratch_steps=2,
    distil_steps=2,
)  # fmt: skip


class Network(nn.Module):
    """An encoder f, a head g of three layers as wide as f, and a task layer on any of them."""

    encoder: nn.Module
    width: int  # of f(x)
    projection: int
    classes: int
    patch: int

    @nn.compact
    def __call__(self, x, *, layer=0, train=False):
        """h [B, width] that a probe reads, z [B, projection], logits from `layer` of the head."""
        h = self.encoder(models.space_to_depth(x, self.patch), train=train)
        widths = (self.width, self.width, self.projection)
        *layers, z = models.ProjectionHead(widths, name='head')(h, layers=True, train=train)
        task = models.Classifier(self.classes, zero=True, name='task')
        return h, z, task(jnp.stack(layers)[layer])


class Model(NamedTuple):
    """A network's parameters and statistics, and the layer that its task reads."""

    params: dict
    stats: dict
    layer: int = 1


@functools.lru_cache
def network(config, size):
    width = config.widths[size == 'big']
    if config.encoders == 'convnet':
        encoder, features = models.ConvNet((width, 2 * width, 4 * width), norm='batch'), 4 * width
    elif size == 'big':
        encoder, features = models.resnet152(width=width, selective_kernel=True), 32 * width
    else:
        encoder, features = models.resnet50(width=width), 32 * width
    return Network(encoder, features, config.projection, config.classes, config.patch)


@functools.lru_cache
def forward(config, size):
    net = network(config, size)
    variables = lambda model: {'params': model.params, 'batch_stats': model.stats}
    return lambda model, x: net.apply(variables(model), x, layer=model.layer)


def optimise(config, rate, steps, *, warmup=0.05, weight_decay=0.0):
    schedule = schedules.warmup_cosine(rate, steps, warmup=int(warmup * steps))
    make = train.lars if config.optimiser == 'lars' else train.adamw
    return make(schedule, weight_decay=weight_decay)


@functools.lru_cache
def build(config, size='big'):
    """(init, step) of contrastive pre-training."""
    net, decay = network(config, size), config.weight_decay
    optimiser = optimise(config, config.learning_rate, config.steps, weight_decay=decay)
    view = functools.partial(
        data.augment.simclr, size=config.size, strength=config.strength, scale=(config.crop, 1.0),
        blur_probability=config.blur, flip_probability=config.flip,
    )  # fmt: skip

    def init(key):
        of_network, of_queue = jax.random.split(key)
        shape = data.spec(config.data, 2, size=config.size)['image'].shape
        variables = net.init(of_network, jnp.zeros(shape))
        queue = jax.random.normal(of_queue, (config.memory, config.projection))
        extra = {'stats': variables['batch_stats'], 'queue': queue}
        return train.create(variables['params'], optimiser, average=True, extra=extra)

    def loss_fn(params, state, batch, key):
        x1, x2 = data.augment.two_views(key, data.augment.to_float(batch['image']), view)
        stats, queue = state.extra['stats'], state.extra['queue']
        x, variables = jnp.concatenate([x1, x2]), {'params': params, 'batch_stats': stats}
        (_, z, _), new = net.apply(variables, x, train=True, mutable=['batch_stats'])
        negatives = queue if config.memory else None
        options = {'temperature': config.temperature, 'negatives': negatives}
        loss = losses.nt_xent(*jnp.split(z, 2), **options).mean()
        if config.memory:
            _, older, _ = forward(config, size)(Model(state.average, stats), x1)
            queue = losses.enqueue(queue, jax.lax.stop_gradient(older))
        return loss, {}, {'stats': new['batch_stats'], 'queue': queue}

    return init, train.gradient_step(loss_fn, optimiser, ema=config.decay)


def inputs(config):
    return data.spec(config.data, config.batch, size=config.size)


@functools.lru_cache
def build_tuning(config, size, rate, steps, teacher_size=None):
    """(start, step) of training on labels and, with weight `mix`, on a teacher's predictions.

    Layer and mix are numbers in the state, so that one compiled step serves every arm.
    """
    net = network(config, size)
    # Fine-tuning neither warms up nor decays; distillation goes by pre-training's rules.
    rules = {'weight_decay': config.weight_decay} if teacher_size else {'warmup': 0.0}
    optimiser = optimise(config, rate, steps, **rules)
    crop = functools.partial(
        data.augment.random_resized_crop, size=config.size, scale=(config.crop, 1.0)
    )

    def start(model, teacher=None, mix=0.0):
        """The state in which a model begins."""
        extra = {'stats': model.stats, 'layer': jnp.int32(model.layer),
                 'teacher': teacher, 'mix': jnp.float32(mix)}  # fmt: skip
        return train.create(model.params, optimiser, extra=extra)

    def loss_fn(params, state, batch, key):
        of_crop, of_flip = jax.random.split(key)
        x = crop(of_crop, data.augment.to_float(batch['image']))
        x = data.augment.flip(of_flip, x, probability=config.flip)
        extra, mix = state.extra, state.extra['mix']
        variables = {'params': params, 'batch_stats': extra['stats']}
        options = {'layer': extra['layer'], 'train': True, 'mutable': ['batch_stats']}
        (_, _, logits), new = net.apply(variables, x, **options)
        known = batch['label'] >= 0
        each = losses.cross_entropy(logits, jnp.maximum(batch['label'], 0))
        loss = (1 - mix) * jnp.where(known, each, 0).sum() / jnp.maximum(known.sum(), 1)
        if teacher_size:
            _, _, wanted = forward(config, teacher_size)(extra['teacher'], x)
            temperature = config.distil_temperature
            loss += mix * losses.distil(logits, wanted, temperature=temperature).mean()
        return loss, {}, {**extra, 'stats': new['batch_stats']}

    return start, train.gradient_step(loss_fn, optimiser)


def pretrain(config, ctx, seed, images, size):
    """A model before and after contrastive pre-training, and the history."""
    init, step = build(config, size)
    first = jax.jit(init)(ctx.key(seed))
    stream = data.batches(images, config.batch, seed=seed, fields=('image',))
    state, history = ctx.fit(
        step, first, stream, steps=config.steps, seed=seed, name=f'pretrain-{size}-{seed}'
    )
    return *(Model(s.params, s.extra['stats']) for s in (first, state)), history


def fine_tune(config, ctx, seed, records, name, size, labels, model, rate, steps):
    """Trains a model on so many labels of each class; the controls train in the same way."""
    rows = data.class_balanced(records['label'], labels, seed=seed)
    stream = data.batches(data.rows(records, rows), min(config.tune_batch, len(rows)), seed=seed)
    start, step = build_tuning(config, size, rate, steps)
    name = f'{name}-{size}-{labels}-{seed}'.replace(' ', '-')
    state, _ = ctx.fit(step, start(model), stream, steps=steps, seed=seed, name=name)
    return Model(state.params, state.extra['stats'], state.extra['layer'])


def distil(config, ctx, seed, records, name, size, teacher, student, mix):
    """Trains a small student of a teacher on all images, of which few keep their labels."""
    rows = data.class_balanced(records['label'], config.labels[0], seed=seed)
    label = np.full(len(records['label']), -1, np.int32)
    label[rows] = records['label'][rows]
    stream = data.batches(data.with_columns(records, label=label), config.batch, seed=seed)
    rate, steps = config.distil_rate, config.distil_steps
    start, step = build_tuning(config, 'small', rate, steps, size)
    state, name = start(student, teacher, mix), f'{name}-{seed}'.replace(' ', '-')
    state, _ = ctx.fit(step, state, stream, steps=steps, seed=seed, name=name)
    return Model(state.params, state.extra['stats'])


def outputs(config, size, model, images):
    """h [N, F], z [N, P] and logits [N, K] of whole images."""
    return evaluate.features(jax.tree_util.Partial(forward(config, size), model), images)


def measure(config, ctx, seed, test, method, size, labels, model):
    """Adds and returns the accuracy of a model, with its calibration."""
    _, _, logits = outputs(config, size, model, test['image'])
    right = float(evaluate.accuracy(logits, test['label']))
    error = evaluate.expected_calibration_error(jax.nn.softmax(logits), test['label'])
    row = {'method': method, 'size': size, 'labels': labels, 'seed': seed}
    ctx.add(**row, accuracy=right, calibration_error=float(error))
    return right


def run(config, ctx):
    # Sets on disk are scaled as they are read; the packaged ones have one size.
    scaled = {'size': config.size} if config.encoders == 'resnet' else {}
    records, test = (data.load(config.data, split, **scaled) for split in ('train', 'test'))
    few, many = config.labels
    for seed in ctx.grid(seed=ctx.seeds):
        here, ready, tuned, right, curves = (config, ctx, seed), {}, {}, {}, {}
        for place, size in enumerate(('small', 'big')):
            untrained, pretrained, history = pretrain(*here, records, size)
            h, test_h = (outputs(config, size, pretrained, s['image'])[0] for s in (records, test))
            linear = evaluate.linear_probe(h, records['label'], test_h, test['label'])
            ctx.add(method='pre-trained', size=size, seed=seed, linear=linear)
            ready[size], curves[size] = (untrained, pretrained), (history['step'], history['loss'])
            control = config.scratch_rates[place], config.scratch_steps
            tuning = config.tune_rates[place], config.tune_steps
            arms = {'supervised': (untrained, *control),
                    'fine-tuned m=0': (pretrained._replace(layer=0), *tuning),
                    'fine-tuned m=1': (pretrained, *tuning)}  # fmt: skip
            for labels, (method, arm) in itertools.product(config.labels, arms.items()):
                model = fine_tune(*here, records, method, size, labels, *arm)
                right[size, labels] = measure(*here, test, method, size, labels, model)
                tuned[size, labels] = model  # the last arm's
        for labels in config.labels:
            gain = right['big', labels] - right['small', labels]
            ctx.add(method=f'{labels} labels', seed=seed, gain_from_size=gain)
        fresh, pretrained = ready['small']
        for method, size, student, mix in (
            ('distilled', 'big', pretrained, config.mix),
            ('self-distilled', 'small', pretrained, config.mix),
            ('distilled, labels too', 'big', pretrained, 0.9 * config.mix),
            ('distilled, no pre-training', 'big', fresh, config.mix),
        ):
            model = distil(*here, records, method, size, tuned[size, few], student, mix)
            measure(*here, test, method, 'small', few, model)
    ctx.save_figure('pre-training', figures.curves(curves, y='NT-Xent'))
    at_few = {'labels': few}
    return ctx.report(
        Claim('accuracy', 'fine-tuned m=1', 'supervised', margin=0.08,
              where={'size': 'big', **at_few}, paper='73.9 % against 25.4 % with 1 % of labels'),
        Claim('gain_from_size', f'{few} labels', f'{many} labels', paper='figure 1'),
        Claim('accuracy', 'distilled', 'fine-tuned m=1', margin=0.01,
              where={'size': 'small', **at_few}, paper='73.9 % against 57.9 %'),
        Claim('accuracy', 'fine-tuned m=1', 'fine-tuned m=0', margin=-0.003,
              where={'size': 'big', **at_few}, paper='figure 5'),
    )  # fmt: skip


if __name__ == '__main__':
    experiment.main()
