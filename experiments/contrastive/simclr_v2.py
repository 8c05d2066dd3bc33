"""SimCLR v2: pre-train big by contrast, fine-tune on a few labels, distil into a small network.

Paper: Big Self-Supervised Models are Strong Semi-Supervised Learners (Chen et al., 2020).

    pre-train   NT-Xent on z = g(f(x)), tau = 0.1, queue of an EMA network as further negatives
    fine-tune   logits = W g_m(f(x)) from layer m of the three of the head g; m = 0 is f(x) itself
    distil      L = -(1 - a) sum log P_S(y | x) - a sum_y P_T(y | x; tau_d) log P_S(y | x; tau_d)

Claim: pre-training and fine-tuning beat training on the few labels alone; the fewer the labels, the
more a bigger network helps; distilling the big one into the small one beats fine-tuning the small
one; the middle of the head is no worse a place to fine-tune from than its input.
Differences from the paper: 1. the cpu preset has MNIST-5000 for ImageNet and MLP-Mixers of two
widths for ResNets. 2. It trains with AdamW: LARS is for batches of thousands. 3. 5 and 50 labels
per class stand for 1 % and 10 %. 4. One seed.

    python -m experiments.contrastive.simclr_v2 --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl import data, evaluate, experiment, losses, models, train
from jssl.experiment import Claim, figures
from jssl.train import schedules


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'imagenet2012'  # section 3.1
    size: int = 224  # side of a view
    classes: int = 1000  # section 3.1
    encoders: str = 'resnet'  # resnet50 and resnet152 3x SK; or 'mixer'
    widths: tuple[int, int] = (64, 192)  # small and big: of the first stage, or of the mixer
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
    labels: tuple[int, ...] = (13, 128)  # per class: 1 % and 10 % of ImageNet
    tune_batch: int = 1024  # section 3.1
    tune_steps: int = 750  # 60 epochs of 1 %
    tune_rate: float = 0.16  # 0.005 sqrt(batch)
    scratch_rate: float = 1.6  # of the supervised control, not searched yet
    distil_steps: int = 125_000  # 400 epochs
    distil_temperature: float = 0.1  # self-distillation; 1.0 from big to small
    mix: float = 1.0  # a: weight of distillation; the rest is the loss on labels


PAPER = Config()
CPU = replace(
    PAPER, seeds=1, data='mnist5k', size=28, classes=10, encoders='mixer', widths=(32, 128),
    projection=64,
    batch=128, steps=300, optimiser='adamw', learning_rate=2e-3, memory=1024, decay=0.99,
    strength=0.5, crop=0.3, labels=(5, 50), tune_batch=50, tune_steps=100, tune_rate=3e-3,
    scratch_rate=3e-3, distil_steps=150, distil_temperature=1.0,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, widths=(8, 16), batch=16, steps=2, memory=32, tune_steps=2, distil_steps=2
)


class Network(nn.Module):
    """Encoder f, head g of three layers as wide as f, and a task layer on any of them."""

    encoder: nn.Module
    width: int
    projection: int
    classes: int

    @nn.compact
    def __call__(self, x, *, layer=None, train=False):
        """z [B, projection], or logits from a layer of the head: 0 is the encoder's output."""
        widths = (self.width, self.width, self.projection)
        layers = models.ProjectionHead(widths, name='head')(
            self.encoder(x, train=train), layers=True, train=train
        )
        task = models.Classifier(self.classes, name='task')
        logits = task(layers[layer or 0])
        return layers[-1] if layer is None else logits


@functools.lru_cache
def network(config, size):
    width = config.widths[size == 'big']
    if config.encoders == 'mixer':
        encoder, features = models.PatchMLP(config.size // 4, width=width), width
    elif size == 'big':
        encoder, features = models.resnet152(width=width, selective_kernel=True), 32 * width
    else:
        encoder, features = models.resnet50(width=width), 32 * width
    return Network(encoder, features, config.projection, config.classes)


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
def build_tuning(config, size, layer, steps, rate, teacher_size=None, teacher_layer=0, mix=0.0):
    """(start, step) of training on labels and, with weight `mix`, on a teacher's predictions.

    The state's `average` holds what does not move: the teacher.
    """
    net = network(config, size)
    optimiser = optimise(config, rate, steps, warmup=0.0 if teacher_size is None else 0.05)
    crop = functools.partial(data.augment.random_resized_crop, size=config.size, scale=(0.4, 1.0))

    def start(model, teacher=None):
        """The state of (params, stats); a task layer of zeros begins the task."""
        params, stats = model
        params = {**params, 'task': jax.tree.map(jnp.zeros_like, params['task'])}
        return train.create(params, optimiser, extra=stats)._replace(average=teacher)

    def loss_fn(params, state, batch, key):
        of_crop, of_flip = jax.random.split(key)
        x = crop(of_crop, data.augment.to_float(batch['image']))
        x = data.augment.flip(of_flip, x)
        variables = {'params': params, 'batch_stats': state.extra}
        logits, new = net.apply(variables, x, layer=layer, train=True, mutable=['batch_stats'])
        loss = jnp.zeros(())
        if mix < 1:
            known = batch['label'] >= 0
            each = losses.cross_entropy(logits, jnp.maximum(batch['label'], 0))
            loss += (1 - mix) * jnp.where(known, each, 0).sum() / jnp.maximum(known.sum(), 1)
        if mix > 0:
            frozen = {'params': state.average[0], 'batch_stats': state.average[1]}
            wanted = network(config, teacher_size).apply(frozen, x, layer=teacher_layer)
            temperature = config.distil_temperature
            loss += mix * losses.distil(logits, wanted, temperature=temperature).mean()
        return loss, {}, new.get('batch_stats', state.extra)

    return start, train.gradient_step(loss_fn, optimiser)


@functools.lru_cache
def logits_of(config, size, layer):
    return lambda model, x: network(config, size).apply(
        {'params': model[0], 'batch_stats': model[1]}, x, layer=layer
    )


class Study:
    """One seed's models: everything a row of the table needs, each trained once."""

    def __init__(self, config, ctx, seed):
        self.config, self.ctx, self.seed = config, ctx, seed
        self.train, self.test = (data.load(config.data, s) for s in ('train', 'test'))

    def pretrain(self, size):
        config, (init, step) = self.config, build(self.config, size)
        stream = data.batches(self.train, config.batch, seed=self.seed, fields=('image', 'label'))
        fit = {'steps': config.steps, 'seed': self.seed, 'name': f'pretrain-{size}-{self.seed}'}
        state, history = self.ctx.fit(step, init, stream, **fit)
        return (state.params, state.extra['stats']), history

    def untrained(self, size):
        state = jax.jit(build(self.config, size)[0])(self.ctx.key(self.seed))
        return state.params, state.extra['stats']

    def tune(self, model, size, layer, labels, name, rate=None):
        """Fine-tuning on a balanced subset; the controls train in the same way."""
        config = self.config
        chosen = data.class_balanced(self.train['label'], labels, seed=self.seed)
        subset = {k: self.train[k][chosen] for k in ('image', 'label')}
        rate = rate or config.tune_rate
        start, step = build_tuning(config, size, layer, config.tune_steps, rate)
        stream = data.batches(subset, min(config.tune_batch, len(chosen)), seed=self.seed)
        return self.fit(step, start(model), stream, config.tune_steps, f'{name}-{labels}')

    def distil(self, teacher, model, labels, name, mix):
        """A small student of `teacher` = (size, layer, model) on all images, labelled or not."""
        config, (size, layer, frozen) = self.config, teacher
        chosen = data.class_balanced(self.train['label'], labels, seed=self.seed)
        known = jnp.full(len(self.train['label']), -1).at[chosen].set(self.train['label'][chosen])
        records = {'image': self.train['image'], 'label': jax.device_get(known)}
        options = {'teacher_size': size, 'teacher_layer': layer, 'mix': mix}
        start, step = build_tuning(
            config, 'small', 0, config.distil_steps, config.tune_rate, **options
        )
        stream = data.batches(records, config.batch, seed=self.seed)
        return self.fit(step, start(model, frozen), stream, config.distil_steps, f'{name}-{labels}')

    def fit(self, step, init, stream, steps, name):
        fit = {'steps': steps, 'seed': self.seed, 'name': f'{name}-{self.seed}'}
        state, _ = self.ctx.fit(step, init, stream, **fit)
        return state.params, state.extra

    def measure(self, method, size, layer, labels, model):
        forward = jax.tree_util.Partial(logits_of(self.config, size, layer), model)
        logits = evaluate.features(forward, self.test['image'])
        right = evaluate.accuracy(logits, self.test['label'])
        error = evaluate.expected_calibration_error(jax.nn.softmax(logits), self.test['label'])
        row = {'method': method, 'size': size, 'labels': labels, 'seed': self.seed}
        self.ctx.add(**row, accuracy=float(right), calibration_error=float(error))
        return float(right)


def run(config, ctx):
    few, many = config.labels
    for seed in ctx.grid(seed=ctx.seeds):
        study = Study(config, ctx, seed)
        curves, tuned, right = {}, {}, {}
        for size in ('small', 'big'):
            pretrained, history = study.pretrain(size)
            curves[size] = (history['step'], history['loss'])
            for labels in config.labels:
                control = study.untrained(size)
                model = study.tune(control, size, 0, labels, f'scratch-{size}', config.scratch_rate)
                study.measure('supervised', size, 0, labels, model)
                for layer in (0, 1):
                    model = study.tune(pretrained, size, layer, labels, f'tune{layer}-{size}')
                    accuracy = study.measure(f'fine-tuned m={layer}', size, layer, labels, model)
                    tuned[size, layer, labels], right[size, layer, labels] = model, accuracy
            if size == 'small':
                small = pretrained
        for labels in config.labels:
            gain = right['big', 1, labels] - right['small', 1, labels]
            ctx.add(method=f'{labels} labels', seed=seed, gain_from_size=gain)
        for name, size, student, mix in (
            ('distilled', 'big', small, config.mix),
            ('self-distilled', 'small', small, config.mix),
            ('distilled, labels too', 'big', small, 0.9 * config.mix),
            ('distilled, no pre-training', 'big', study.untrained('small'), config.mix),
        ):
            teacher = (size, 1, tuned[size, 1, few])
            model = study.distil(teacher, student, few, name.replace(' ', '-'), mix)
            study.measure(name, 'small', 0, few, model)
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
