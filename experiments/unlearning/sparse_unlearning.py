"""Sparse unlearning: a pruned network forgets more like one that never saw the data.

Paper: Model Sparsity Can Simplify Machine Unlearning (Jia et al., 2023).

    prune, then unlearn: theta = m * theta_o, m = top (1 - s) of |theta|, and m stays fixed
    l1-sparse unlearning: min CE(theta; D_r) + gamma_t |theta|_1, gamma_t = gamma (1 - t / T)

Beside them fine-tuning (FT) on the retained data D_r, gradient ascent (GA) on the forgotten data
D_f, Fisher forgetting (FF) and influence unlearning (IU), each on the dense and on pruned networks.
The reference is a network of the same sparsity retrained on D_r; the gap to it is averaged over UA
(error on D_f), MIA-efficacy (forgotten data an attacker takes for unseen), RA and TA (accuracy on
D_r and on test data). RTE, the cost, is counted in passes over the training set.

Claim: sparsity narrows the gap of approximate unlearning to retraining; the l1 penalty makes
fine-tuning forget a class at no cost in test accuracy; a backdoor fades faster from a sparse net.
Differences from the paper: 1. the cpu preset has MNIST-5000 at 14 x 14 and a small ConvNet for
CIFAR-10 and a ResNet-18. 2. RTE in passes, not minutes: it repeats to the digit. 3. One transfer
target, digits, and the linear probe of frozen features.

    python -m experiments.unlearning.sparse_unlearning --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jssl import data, evaluate, experiment, losses, models, train
from jssl.algorithms import influence
from jssl.data.batches import permutation
from jssl.evaluate.unlearning import average_gap, unlearning_scores
from jssl.experiment import Claim, Range
from jssl.train import pruning, schedules

METHODS = ('ft', 'ga', 'iu', 'l1')


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'cifar10'  # section 5.1
    transfer: str = 'svhn_cropped'  # the target task of the transfer study
    size: int = 32  # side of the images
    backbone: str = 'resnet18'  # or 'convnet'; section 5.1
    widths: tuple[int, ...] = (64,)  # of the ConvNet's blocks; ResNet's first
    batch: int = 256  # appendix C.2
    epochs: int = 182  # of training and of retraining, appendix C.2
    learning_rate: float = 0.1  # divided by 10 at half and three quarters
    weight_decay: float = 5e-4  # appendix C.2
    sparsities: tuple[float, ...] = (0.9, 0.95)  # beside dense; table 1 has 95 %
    rounds: int = 10  # of iterative pruning (IMP) and of synaptic flow
    forget: float = 0.1  # share forgotten at random, section 5.1
    unlearn_epochs: int = 10  # of FT and l1, appendix C.2
    ft_rate: float = 0.01  # within the paper's search, 1e-3 to 1e-1
    ga_epochs: int = 5  # appendix C.2
    ga_rate: float = 1e-4  # within the paper's search, 1e-6 to 1e-4
    gamma: float = 5e-4  # l1 weight at the start, appendix C.2
    alpha_ff: float = 1e-7  # noise of Fisher forgetting, by search
    alpha_iu: float = 1.0  # step of influence unlearning, by search
    gradients: int = 1000  # examples whose gradients stand for the Hessian
    poison: float = 0.02  # share with a trigger in the backdoor study, section 5.3


PAPER = Config()
CPU = replace(
    PAPER, data='mnist5k', transfer='digits', size=14, backbone='convnet', widths=(16, 32),
    batch=128, epochs=12, weight_decay=0.0, rounds=3, unlearn_epochs=3, ft_rate=0.03, ga_epochs=1,
    ga_rate=3e-3, gamma=1e-3, alpha_ff=1e-7, gradients=400,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, widths=(4,), epochs=1, unlearn_epochs=1, rounds=2, sparsities=(0.9,), gradients=20
)


@functools.lru_cache
def network(config):
    """(init, apply): the backbone with its classifier; batch statistics live beside the weights."""
    shape = data.spec(config.data, 1, size=config.size)['image'].shape
    if config.backbone == 'resnet18':
        backbone = models.resnet18(width=config.widths[0], stem='cifar')
    else:
        backbone = models.ConvNet(config.widths)
    head = models.Classifier(classes=10)

    def init(key):
        of_backbone, of_head = jax.random.split(key)
        variables = backbone.init(of_backbone, jnp.zeros(shape))
        h = backbone.apply(variables, jnp.zeros(shape))
        params = {'backbone': variables['params'], 'head': head.init(of_head, h)['params']}
        return params, variables.get('batch_stats', {}), jax.tree.map(jnp.ones_like, params)

    def apply(model, x, training=False, classify=True):
        params, stats, mask = model
        params = pruning.masked(params, mask)
        variables = {'params': params['backbone'], 'batch_stats': stats}
        h, new = backbone.apply(variables, x, train=training, mutable=['batch_stats'])
        out = head.apply({'params': params['head']}, h) if classify else h
        return (out, new.get('batch_stats', stats)) if training else out

    return init, apply


@functools.lru_cache
def build(config, objective='train', steps=100_000):
    """(init, step) of training, or of unlearning: 'tune', 'l1' or gradient 'ascent'."""
    fresh, apply = network(config)
    rates = {'tune': config.ft_rate, 'l1': config.ft_rate, 'ascent': config.ga_rate}
    rate = rates.get(objective) or schedules.step_decay(
        config.learning_rate, (steps // 2, 3 * steps // 4)
    )
    optimiser = train.sgd(rate, weight_decay=config.weight_decay)

    def init(key):
        params, *extra = fresh(key)
        return train.create(params, optimiser, extra=tuple(extra))

    def loss_fn(params, state, batch, key):
        stats, mask = state.extra
        logits, stats = apply((params, stats, mask), batch['image'], training=True)
        loss = losses.cross_entropy(logits, batch['label']).mean()
        if objective == 'ascent':
            loss = -loss
        if objective == 'l1':
            gamma = config.gamma * jnp.maximum(0.0, 1 - state.step / steps)
            loss = loss + gamma * losses.l1(pruning.masked(params, mask))
        return loss, {}, (stats, mask)

    return init, train.gradient_step(loss_fn, optimiser)


def inputs(config):
    spec = data.spec(config.data, config.batch, size=config.size)
    return {**spec, 'image': jax.ShapeDtypeStruct(spec['image'].shape, jnp.float32)}


def images(name, split, config):
    """The whole split as float32 in [0, 1] at the experiment's size and channels."""
    shape = data.spec(config.data, 1, size=config.size)['image'].shape[1:]
    records = data.load(name, split)
    x = np.asarray(records['image'], np.float32) / 255
    x = np.asarray(jax.image.resize(x, (len(x), *shape[:2], x.shape[-1]), 'linear'))
    return {'image': x.mean(-1, keepdims=True) if shape[-1] == 1 else x, 'label': records['label']}


def rows(records, keep):
    return {name: column[keep] for name, column in records.items()}


def run_fit(config, ctx, records, model, name, seed, objective='train', epochs=None):
    """The model after `epochs` on the records; its mask stays as it is."""
    epochs = config.epochs if epochs is None else epochs
    steps = max(1, epochs * len(records['label']) // config.batch)
    init, step = build(config, objective, steps)
    start = {'params': pruning.masked(model[0], model[2]), 'extra': model[1:]}
    stream = data.batches(records, config.batch, seed=seed)
    state, _ = ctx.fit(
        step, lambda key: init(key)._replace(**start), stream, steps=steps, seed=seed, name=name
    )
    return (state.params, *state.extra)


def gradients_of(config, model, *parts):
    """Per-example gradients of the first records of each part; zero where weights are pruned."""
    _, apply = network(config)

    def loss(params, x, y):
        return losses.cross_entropy(apply((params, *model[1:]), x[None]), y[None])[0]

    gradients = jax.jit(functools.partial(influence.example_gradients, loss))
    firsts = (rows(part, slice(config.gradients)) for part in parts)
    return [gradients(model[0], part['image'], part['label']) for part in firsts]


def moved(model, step):
    """The model with a flat step added to the weights that are left."""
    step = ravel_pytree(model[0])[1](step)
    return (jax.tree.map(jnp.add, model[0], pruning.masked(step, model[2])), *model[1:])


def predict(config, model, records, classify=True):
    forward = functools.partial(network(config)[1], classify=classify)
    return evaluate.features(jax.tree_util.Partial(forward, model), records['image'])


def assess(config, model, *sets):
    return unlearning_scores(*((predict(config, model, part), part['label']) for part in sets))


def bound(config, model, start, records):
    """eta^2 t |m (theta_t - theta_0)| sigma(m), sigma the largest masked curvature (prop. 2)."""
    _, apply = network(config)
    _, _, mask = model

    def loss(params):
        logits = apply((params, *model[1:]), records['image'])
        return losses.cross_entropy(logits, records['label']).mean()

    curvature = influence.largest_curvature(loss, model[0], mask)
    distance = pruning.masked(jax.tree.map(jnp.subtract, model[0], start[0]), mask)
    return config.ga_rate**2 * config.ga_epochs * optax.global_norm(distance) * curvature


def prune(config, ctx, kind, sparsity, dense, start, records, seed):
    """The mask of a pruner: one-shot or iterative magnitude, or synaptic flow."""
    if kind == 'omp':
        return pruning.magnitude_mask(dense[0], sparsity)
    if kind == 'synflow':
        _, apply = network(config)
        forward = lambda params, x: apply((params, *dense[1:]), x)
        shape = records['image'].shape[1:]
        options = {'sparsity': sparsity, 'rounds': 10 * config.rounds}
        return pruning.synflow_mask(forward, start[0], shape, **options)
    model = dense
    for number in range(1, config.rounds + 1):
        mask = pruning.magnitude_mask(model[0], 1 - (1 - sparsity) ** (number / config.rounds))
        if number < config.rounds:
            model = (start[0], start[1], mask)
            model = run_fit(config, ctx, records, model, f'imp{number}-{seed}', seed)
    return mask


def unlearn(config, ctx, method, model, retain, forget, name, seed):
    """(unlearned model, passes over the training set that it cost)."""
    count = len(retain['label']) + len(forget['label'])
    share, drawn = len(forget['label']) / count, config.gradients / count
    if method == 'iu':
        step = influence.influence_update(*gradients_of(config, model, retain, forget), share=share)
        return moved(model, config.alpha_iu * step), 2 * drawn
    if method == 'ff':
        (gradients,) = gradients_of(config, model, retain)
        noise = influence.fisher_noise(ctx.key(seed), gradients, alpha=config.alpha_ff)
        return moved(model, noise), drawn
    if method == 'ga':
        options = {'objective': 'ascent', 'epochs': config.ga_epochs}
        return run_fit(config, ctx, forget, model, name, seed, **options), config.ga_epochs * share
    options = {'objective': {'ft': 'tune', 'l1': 'l1'}[method], 'epochs': config.unlearn_epochs}
    passes = config.unlearn_epochs * (1 - share)
    return run_fit(config, ctx, retain, model, name, seed, **options), passes


def split(config, scenario, records, test, seed):
    """(retained, forgotten, test): a random share, or a whole class, which leaves the test too."""
    if scenario == 'class':
        gone, tested = records['label'] == seed % 10, test['label'] != seed % 10
    else:
        count = len(records['label'])
        gone = np.zeros(count, bool)
        gone[permutation(count, seed, 0)[: round(config.forget * count)]] = True
        tested = slice(None)
    return rows(records, ~gone), rows(records, gone), rows(test, tested)


def backdoor(config, ctx, masks, start, records, test, seed):
    """Success of a trigger after fine-tuning the poisoned network on clean data, by sparsity."""

    def stamp(x):
        x = x.copy()
        x[:, -3:, -3:] = 1.0
        return x

    count = len(records['label'])
    bad = permutation(count, seed, 1)[: round(config.poison * count)]
    poisoned = {k: v.copy() for k, v in records.items()}
    poisoned['image'][bad], poisoned['label'][bad] = stamp(records['image'][bad]), 0
    clean = rows(records, np.setdiff1d(np.arange(count), bad))
    others = rows(test, test['label'] != 0)
    triggered = {**others, 'image': stamp(others['image'])}
    for name, mask in masks.items():
        label = f'{name}-{seed}'
        model = (start[0], start[1], mask)
        model = run_fit(config, ctx, poisoned, model, f'poisoned-{label}', seed)
        healed, _ = unlearn(
            config, ctx, 'ft', model, clean, rows(records, bad), f'heal-{label}', seed
        )
        for moment, one in (('before', model), ('after', healed)):
            hit = (predict(config, one, triggered).argmax(1) == 0).mean()
            right = evaluate.accuracy(predict(config, one, test), test['label'])
            ctx.add(study='backdoor', method=name, moment=moment, seed=seed,
                    attack_success=float(hit), test_accuracy=float(right))  # fmt: skip


def transfer(config, ctx, model, records, seed):
    """Linear probes on another task before and after unlearning the classes that harm it."""
    parts = {s: images(config.transfer, s, config) for s in ('train', 'validation', 'test')}

    def probe(one, split):
        h = {s: predict(config, one, parts[s], classify=False) for s in ('train', split)}
        labels = [parts[s]['label'] for s in ('train', split)]
        return evaluate.linear_probe(h['train'], labels[0], h[split], labels[1], classes=10)

    def without(classes, name):
        gone = np.isin(records['label'], classes)
        pair = (rows(records, ~gone), rows(records, gone))
        return unlearn(config, ctx, 'l1', model, *pair, name, seed)[0]

    before = probe(model, 'validation')
    gain = [probe(without([c], f'source{c}-{seed}'), 'validation') - before for c in range(10)]
    harmful = np.argsort(gain)[-2:]  # fixed number: the test split never chooses
    ctx.add(study='transfer', method='all classes', seed=seed, transfer=probe(model, 'test'))
    ctx.add(study='transfer', method='harmful unlearned', seed=seed,
            transfer=probe(without(harmful, f'harmless-{seed}'), 'test'))  # fmt: skip


def run(config, ctx):
    records, test = (images(config.data, s, config) for s in ('train', 'test'))
    for seed in ctx.grid(seed=ctx.seeds):
        start = network(config)[0](ctx.key(seed))
        dense = run_fit(config, ctx, records, start, f'dense-{seed}', seed)
        masks = {'dense': start[2]}
        for s in config.sparsities:
            masks[f'omp {s:g}'] = prune(config, ctx, 'omp', s, dense, start, records, seed)
        for kind in ('imp', 'synflow'):
            s = config.sparsities[-1]
            masks[f'{kind} {s:g}'] = prune(config, ctx, kind, s, dense, start, records, seed)
        originals = {'dense': dense}
        for net, mask in list(masks.items())[1:]:
            model = (start[0], start[1], mask)
            originals[net] = run_fit(config, ctx, records, model, f'{net}-{seed}', seed)
        gaps = {}
        for scenario in ('random', 'class'):
            sets = split(config, scenario, records, test, seed)
            for net, model in originals.items():
                again = run_fit(
                    config, ctx, sets[0], (start[0], start[1], masks[net]),
                    f'retrain-{scenario}-{net}-{seed}', seed,
                )  # fmt: skip
                reference = assess(config, again, *sets)
                ctx.add(study=scenario, net=net, method='retrain', seed=seed, gap=0.0,
                        rte=float(config.epochs), **reference)  # fmt: skip
                methods = (*METHODS, 'ff') if net.startswith(('dense', 'omp')) else ('ft', 'l1')
                for method in methods:
                    name = f'{method}-{scenario}-{net}-{seed}'
                    new, passes = unlearn(config, ctx, method, model, *sets[:2], name, seed)
                    found = assess(config, new, *sets)
                    gap = gaps[scenario, net, method] = average_gap(found, reference)
                    ctx.add(study=scenario, net=net, method=method, seed=seed, gap=gap,
                            rte=float(passes), **found)  # fmt: skip
        sparse = f'omp {config.sparsities[-1]:g}'
        closer = [
            sum(gaps[s, sparse, m] < gaps[s, 'dense', m] for m in METHODS)
            for s in ('random', 'class')
        ]
        ctx.add(study='methods closer', seed=seed, closer=float(max(closer)))
        for net in ('dense', sparse):
            value = bound(config, originals[net], start, rows(records, slice(500)))
            ctx.add(study='bound', method=net, seed=seed, bound=float(value))
        chosen = {net: masks[net] for net in ('dense', sparse)}
        backdoor(config, ctx, chosen, start, records, test, seed)
        transfer(config, ctx, dense, records, seed)
    return ctx.report(
        Range('closer', low=3, where={'study': 'methods closer'}, paper='all methods (figure 4)'),
        Claim('ua', 'l1', 'ft', margin=0.15, where={'study': 'class', 'net': 'dense'},
              paper='+77 %'),
        Claim('ta', 'l1', 'retrain', margin=-0.03, where={'study': 'class', 'net': 'dense'}),
        Claim('attack_success', sparse, 'dense', lower=True, where={'moment': 'after'}),
        Claim('bound', sparse, 'dense', lower=True, where={'study': 'bound'}),
    )  # fmt: skip


if __name__ == '__main__':
    experiment.main()
