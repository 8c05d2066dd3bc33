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
students have the head too, and read its first layer.

    python -m experiments.contrastive.simclr_v2 --preset=cpu
"""

import dataclasses
import functools
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
    projection: int = 128  # width of z, appendix B
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
    labels: tuple[int, ...] = (13, 128)  # per class: 1 % and 10 % of ImageNet
    tune_batch: int = 1024  # section 3.1
    tune_steps: int = 750  # 60 epochs of 1 %
    tune_rate: float = 0.16  # 0.005 sqrt(batch)
    scratch_rate: float = 1.6  # of the supervised control
    scratch_steps: int = 7500  # of the supervised control, longer than fine-tuning
    distil_steps: int = 125_000  # 400 epochs
    distil_temperature: float = 0.1  # self-distillation; 1.0 from big to small
    mix: float = 1.0  # a: weight of distillation; the rest is the loss on labels


PAPER = Config()
CPU = replace(
    PAPER, data='mnist5k', size=28, classes=10, encoders='convnet', widths=(8, 32), patch=2,
    projection=64, batch=128, steps=500, optimiser='adamw', learning_rate=3e-3, memory=1024,
    decay=0.99, strength=0.5, crop=0.4, blur=0.0, flip=0.0, labels=(5, 50), tune_batch=50,
    tune_steps=300, tune_rate=1e-3, scratch_rate=3e-3, scratch_steps=300, distil_steps=150,
    distil_temperature=1.0,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, widths=(8, 16), batch=16, steps=2, memory=32, tune_steps=2, scratch_steps=2,
    distil_steps=2,
)  # fmt: skip


class Network(nn.Module):
    """Encoder f, head g of three layers as wide as f, and a task layer on any of them."""

    encoder: nn.Module
    width: int
    projection: int
    classes: int
    patch: int  # side of the patches that become channels before the first layer

    @nn.compact
    def __call__(self, x, *, layer=None, train=False):
        """z [B, projection], or logits from layer 0 (the encoder's output), 1 or 2 of the head."""
        widths = (self.width, self.width, self.projection)
        h = self.represent(x, train=train)
        layers = models.ProjectionHead(widths, name='head')(h, layers=True, train=train)
        task = models.Classifier(self.classes, name='task')
        logits = task(jnp.stack(layers[:-1])[0 if layer is None else layer])
        return layers[-1] if layer is None else logits

    def represent(self, x, *, train=False):
        """f(x) [B, F], what a linear probe reads."""
        return self.encoder(models.space_to_depth(x, self.patch), train=train)


class Model(NamedTuple):
    """A network's parameters and statistics, and the layer of the head that its task reads."""

    params: dict
    stats: dict
    layer: jax.Array

    @property
    def variables(self):
        return {'params': self.params, 'batch_stats': self.stats}


@functools.lru_cache
def network(config, size):
    width = config.widths[size == 'big']
    if config.encoders == 'convnet':
        encoder = models.ConvNet((width, 2 * width, 4 * width), norm='batch')
        features = 4 * width
    elif size == 'big':
        encoder, features = models.resnet152(width=width, selective_kernel=True), 32 * width
    else:
        encoder, features = models.resnet50(width=width), 32 * width
    return Network(encoder, features, config.projection, config.classes, config.patch)


def optimise(config, rate, steps, *, warmup=0.05, weight_decay=0.0):
    schedule = schedules.warmup_cosine(rate, steps, warmup=int(warmup * steps))
    make = train.lars if config.optimiser == 'lars' else train.adamw
    return make(schedule, weight_decay=weight_decay)


@functools.lru_cache
def build(config, size='big'):
    """(init, step) of contrastive pre-training."""
    net = network(config, size)
    steps, decay = config.steps, config.weight_decay
    optimiser = optimise(config, config.learning_rate, steps, weight_decay=decay)
    view = functools.partial(
        data.augment.simclr,
        size=config.size,
        strength=config.strength,
        scale=(config.crop, 1.0),
        blur_probability=config.blur,
        flip_probability=config.flip,
    )

    def init(key):
        of_network, of_queue = jax.random.split(key)
        shape = data.spec(config.data, 2, size=config.size)['image'].shape
        variables = net.init(of_network, jnp.zeros(shape))
        stats = variables.get('batch_stats', {})
        queue = jax.random.normal(of_queue, (config.memory, config.projection))
        extra = {'stats': stats, 'queue': queue}
        return train.create(variables['params'], optimiser, average=True, extra=extra)

    def loss_fn(params, state, batch, key):
        x1, x2 = data.augment.two_views(key, data.augment.to_float(batch['image']), view)
        variables = {'params': params, 'batch_stats': state.extra['stats']}
        z, new = net.apply(
            variables, jnp.concatenate([x1, x2]), train=True, mutable=['batch_stats']
        )
        queue = state.extra['queue']
        negatives = queue if config.memory else None
        loss = losses.nt_xent(
            *jnp.split(z, 2), temperature=config.temperature, negatives=negatives
        ).mean()
        if config.memory:
            teacher = {'params': state.average, 'batch_stats': state.extra['stats']}
            queue = losses.enqueue(queue, jax.lax.stop_gradient(net.apply(teacher, x1)))
        return loss, {}, {'stats': new.get('batch_stats', {}), 'queue': queue}

    return init, train.gradient_step(loss_fn, optimiser, ema=config.decay)


def inputs(config):
    return data.spec(config.data, config.batch, size=config.size)


@functools.lru_cache
def build_tuning(config, size, steps, rate, teacher_size=None):
    """(start, step) of training on labels and, with weight `mix`, on a teacher's predictions.

    The state's `average` holds what does not move: the teacher. Layer and mix are numbers in the
    state, so that one compiled step serves every arm.
    """
    net = network(config, size)
    optimiser = optimise(config, rate, steps, warmup=0.0 if teacher_size is None else 0.05)
    crop = functools.partial(data.augment.random_resized_crop, size=config.size, scale=(0.4, 1.0))

    def start(model, teacher=None, mix=0.0):
        """The state of a model; a task layer of zeros begins the task."""
        params = {**model.params, 'task': jax.tree.map(jnp.zeros_like, model.params['task'])}
        extra = model._replace(params=None), jnp.float32(mix)
        return train.create(params, optimiser, extra=extra)._replace(average=teacher)

    def loss_fn(params, state, batch, key):
        of_crop, of_flip = jax.random.split(key)
        x = crop(of_crop, data.augment.to_float(batch['image']))
        x = data.augment.flip(of_flip, x, probability=config.flip)
        model, mix = state.extra
        variables = model._replace(params=params).variables
        logits, new = net.apply(
            variables, x, layer=model.layer, train=True, mutable=['batch_stats']
        )
        known = batch['label'] >= 0
        each = losses.cross_entropy(logits, jnp.maximum(batch['label'], 0))
        loss = (1 - mix) * jnp.where(known, each, 0).sum() / jnp.maximum(known.sum(), 1)
        if teacher_size is not None:
            teacher = state.average
            wanted = network(config, teacher_size).apply(teacher.variables, x, layer=teacher.layer)
            temperature = config.distil_temperature
            loss += mix * losses.distil(logits, wanted, temperature=temperature).mean()
        return loss, {}, (model._replace(stats=new.get('batch_stats', model.stats)), mix)

    return start, train.gradient_step(loss_fn, optimiser)


@functools.lru_cache
def predict(config, size):
    return lambda model, x: network(config, size).apply(model.variables, x, layer=model.layer)


@functools.lru_cache
def represent(config, size):
    net = network(config, size)
    return lambda model, x: net.apply(model.variables, x, method=net.represent)


class Study:
    """One seed's models: everything a row of the table needs, each trained once."""

    def __init__(self, config, ctx, seed):
        self.config, self.ctx, self.seed = config, ctx, seed
        self.train, self.test = (data.load(config.data, s) for s in ('train', 'test'))

    def pretrain(self, size, steps):
        """A contrastive model, or with no steps an untrained one, and the history."""
        init, step = build(self.config, size)
        stream = data.batches(self.train, self.config.batch, seed=self.seed, fields=('image',))
        name = f'pretrain-{size}-{steps}-{self.seed}'
        state, history = self.ctx.fit(step, init, stream, steps=steps, seed=self.seed, name=name)
        return Model(state.params, state.extra['stats'], jnp.int32(0)), history

    def probe(self, method, size, model):
        """A linear probe of f(x) with all labels."""
        forward = jax.tree_util.Partial(represent(self.config, size), model)
        h, test_h = (evaluate.features(forward, part['image']) for part in (self.train, self.test))
        found = evaluate.linear_probe(h, self.train['label'], test_h, self.test['label'])
        self.ctx.add(method=method, size=size, seed=self.seed, linear=found)

    def tune(self, model, size, labels, name, steps, rate):
        """Fine-tuning on a balanced subset; the controls train in the same way."""
        chosen = self.chosen(labels)
        subset = {k: self.train[k][chosen] for k in ('image', 'label')}
        start, step = build_tuning(self.config, size, steps, rate)
        stream = data.batches(subset, min(self.config.tune_batch, len(chosen)), seed=self.seed)
        return self.fit(step, start(model), stream, steps, f'{name}-{size}-{labels}')

    def distil(self, teacher, size, student, labels, name, mix):
        """A small student of `teacher`, a model of a size, on all images, labelled or not."""
        config, chosen = self.config, self.chosen(labels)
        label = np.full(len(self.train['label']), -1, np.int32)
        label[chosen] = self.train['label'][chosen]
        steps, rate = config.distil_steps, config.tune_rate
        start, step = build_tuning(config, 'small', steps, rate, size)
        records = {'image': self.train['image'], 'label': label}
        stream = data.batches(records, config.batch, seed=self.seed)
        return self.fit(step, start(student, teacher, mix), stream, steps, f'{name}-{labels}')

    def chosen(self, labels):
        return data.class_balanced(self.train['label'], labels, seed=self.seed)

    def fit(self, step, state, stream, steps, name):
        name = f'{name}-{self.seed}'
        state, _ = self.ctx.fit(step, state, stream, steps=steps, seed=self.seed, name=name)
        return state.extra[0]._replace(params=state.params)

    def measure(self, method, size, labels, model):
        forward = jax.tree_util.Partial(predict(self.config, size), model)
        logits = evaluate.features(forward, self.test['image'])
        right = evaluate.accuracy(logits, self.test['label'])
        error = evaluate.expected_calibration_error(jax.nn.softmax(logits), self.test['label'])
        row = {'method': method, 'size': size, 'labels': labels, 'seed': self.seed}
        self.ctx.add(**row, accuracy=float(right), calibration_error=float(error))
        return float(right)


def run(config, ctx):
    few, many = config.labels
    tuning = {'steps': config.tune_steps, 'rate': config.tune_rate}
    control = {'steps': config.scratch_steps, 'rate': config.scratch_rate}
    for seed in ctx.grid(seed=ctx.seeds):
        study = Study(config, ctx, seed)
        curves, tuned, right, pretrained, untrained = {}, {}, {}, {}, {}
        for size in ('small', 'big'):
            untrained[size], _ = study.pretrain(size, 0)
            pretrained[size], history = study.pretrain(size, config.steps)
            curves[size] = (history['step'], history['loss'])
            study.probe('untrained', size, untrained[size])
            study.probe('pre-trained', size, pretrained[size])
            for labels in config.labels:
                model = untrained[size]._replace(layer=jnp.int32(1))
                model = study.tune(model, size, labels, 'scratch', **control)
                study.measure('supervised', size, labels, model)
                for m in (0, 1):
                    model = pretrained[size]._replace(layer=jnp.int32(m))
                    model = study.tune(model, size, labels, f'tune{m}', **tuning)
                    tuned[size, labels] = model
                    right[size, labels] = study.measure(f'fine-tuned m={m}', size, labels, model)
        for labels in config.labels:
            gain = right['big', labels] - right['small', labels]
            ctx.add(method=f'{labels} labels', seed=seed, gain_from_size=gain)
        for name, size, students, mix in (
            ('distilled', 'big', pretrained, config.mix),
            ('self-distilled', 'small', pretrained, config.mix),
            ('distilled, labels too', 'big', pretrained, 0.9 * config.mix),
            ('distilled, no pre-training', 'big', untrained, config.mix),
        ):
            teacher, name_of_fit = tuned[size, few], name.replace(' ', '-')
            student = students['small']._replace(layer=jnp.int32(1))
            model = study.distil(teacher, size, student, few, name_of_fit, mix)
            study.measure(name, 'small', few, model)
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
