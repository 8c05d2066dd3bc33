"""D2O: away from answers known to be bad, held by a mean over answers of one's own.

Paper: Negating Negatives: Alignment without Human Positive Samples via Distributional
Dispreference Optimization (Duan et al., 2024).

    L = -log sigma(beta / K sum_k log pi(y_k | x) / ref-(y_k | x)
                   - alpha log pi(y_l | x) / ref+(y_l | x)),   y_k ~ pi(. | instruction, x)

The anchors y_k are asked for with an instruction, and drawn anew from time to time (offline: once).
Both references are the model at first; 'd2o-leaning' has for ref+ the model under its instruction.
With alpha = beta, L is at most the mean of DPO's losses with each anchor as the good answer, which
is 'dpo-self'. Beside it: DPO, IPO, SLiC and SimPO on people's good answers, some harmful; DPO on
the sample that the instruction favours most; ascent, unlikelihood and NPO on bad answers alone.

Claim: with bad answers alone, harm falls far below the model's at first and below DPO's with noisy
good answers, at no loss of help, where ascent collapses; the bound holds at every step; more
anchors give less noisy gradients; drawing them anew does not hurt.
Differences from the paper:
  1. In the cpu preset a small language model tells of invented people: help is the number of true
  facts in an answer, harm an insult at its end; under the instruction it insults less. One of four
  insults is never in bad answers ('unseen'). 2. The paper preset has a model of 1.1 billion
  parameters. 3. Oracles judge: a win is fewer insults, then more facts. 4. Log-probabilities are
  sums; answers are equally long. 5. Each kind of loss has its own rate.

    python -m experiments.preference.d2o --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import data, evaluate, experiment, losses, models, train, zoo
from jssl.data.generated import facts, questions
from jssl.errors import Refusal
from jssl.experiment import Claim, Range, figures

optimiser = optax.inject_hyperparams(optax.adam)  # its rate is in its state
LOSSES = ('d2o', 'instance', 'dpo', 'ipo', 'slic', 'simpo', 'ascent', 'unlikelihood', 'npo')


class Arm(NamedTuple):
    loss: str
    good: str = 'own'  # answers beside the bad: one's own, people's, or one's own that is best
    anchors: int | None = None  # K; None is the Config's
    noise: float = 0.0  # share of people's good answers that are harmful
    online: bool = False
    leaning: bool = False  # two references


PAIR = Arm('dpo', 'people', 1)
ARMS = {
    'd2o': Arm('d2o', online=True), 'd2o-offline': Arm('d2o'),
    'dpo': PAIR, 'dpo-noisy': PAIR._replace(noise=0.2),
    'dpo-self': Arm('instance', online=True), 'ascent': PAIR._replace(loss='ascent'),
}  # fmt: skip
ONCE = {  # with the first seed
    'd2o-1': Arm('d2o', anchors=1, online=True), 'd2o-4': Arm('d2o', anchors=4, online=True),
    'd2o-leaning': Arm('d2o', online=True, leaning=True), 'd2o-filtered': Arm('d2o', 'best'),
    'dpo-noisier': PAIR._replace(noise=0.4), 'dpo-critique': Arm('dpo', 'best', 1),
    **{name: Arm(name, 'people', 1, 0.2) for name in ('ipo', 'slic', 'simpo')},
    **{name: PAIR._replace(loss=name) for name in ('unlikelihood', 'npo')},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'jsonl:pku_saferlhf'  # bad answers with what was asked
    model: str = 'tinyllama-1.1b'  # or '', a small one of `width` and `depth`
    vocabulary: int = 32_000  # Alpaca's
    width: int = 2048  # of the model
    depth: int = 22  # of the model
    length: int = 256  # tokens of an answer; not stated
    people: int = 0  # that facts tell of, half of them for testing; not in the paper
    rows: int = 14_000  # bad answers
    told: int = 52_000  # pairs of answers that the model learns from first, Alpaca's
    sft_steps: int = 1200  # 3 epochs of 128, Alpaca's
    sft_batch: int = 128  # Alpaca's
    sft_rate: float = 2e-5  # Alpaca's
    harm: tuple[float, float] = (0.4, 0.05)  # of these answers, without and with the instruction
    anchors: int = 11  # K
    drawn: int = 24  # answers that are drawn to a prompt, to choose anchors from and to measure
    alpha: float = 0.1  # of the bad answer, as in the paper
    beta: float = 0.1  # of the anchors, as in the paper
    batch: int = 64  # prompts; not stated
    accumulate: int = 8  # parts that a batch is cut into
    parts: int = 32  # of training: anchors are drawn anew for each
    part: int = 32  # steps of a part; not stated
    rate: float = 1e-6  # Adam; not stated
    margin_rate: float = 1e-6  # of IPO, SLiC and SimPO
    ascent_rate: float = 1e-6  # of ascent, unlikelihood and NPO


PAPER = Config()
CPU = replace(
    PAPER, data='facts', model='', vocabulary=400, width=64, depth=2, length=9, people=24, rows=240,
    told=1000, sft_steps=400, sft_batch=32, sft_rate=4e-3, batch=8, accumulate=1, parts=4, part=30,
    rate=1e-4, margin_rate=3e-4, ascent_rate=1e-4,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, width=16, depth=1, people=8, rows=16, told=40, sft_steps=2, sft_batch=8,
    anchors=1, drawn=1, parts=2, part=1,
)  # fmt: skip


def network(config):
    if config.model:
        return zoo.backbone(config.model)
    inner = models.Transformer(
        config.width, config.depth, 4, causal=True, gated=True, use_bias=False, activation=nn.silu,
        mlp_ratio=8 / 3, norm=nn.RMSNorm,
    )  # fmt: skip
    return models.CausalLM(config.vocabulary, inner)


def log_probs(config, params, prompts, answers):
    """log p of the tokens of answers [..., L] to prompts [..., PROMPT]."""
    prompts = jnp.broadcast_to(prompts, (*answers.shape[:-1], questions.PROMPT))
    rows = (x.reshape(-1, x.shape[-1]) for x in (prompts, answers))
    return models.answer_log_probs(network(config), {'params': params}, *rows).reshape(
        answers.shape
    )


def start(config, params, loss='d2o'):
    """The state in which an arm begins."""
    kind = LOSSES.index(loss)
    rate = (config.rate, config.margin_rate, config.ascent_rate)[kind // 3]
    return train.create(params, optimiser(learning_rate=rate), extra=jnp.int32(kind))


@functools.lru_cache
def build(config):
    """(init, step) of every loss, on a bad answer and K others; which loss, is in the state."""
    options = {'alpha': config.alpha, 'beta': config.beta}
    dpo = functools.partial(losses.dpo, beta=config.beta)

    def init(key):
        return start(config, network(config).init(key, jnp.zeros((1, 2), int))['params'])

    def loss_fn(params, state, batch, key):
        answers = jnp.concatenate([batch['bad'][:, None], batch['good']], axis=1)
        each = log_probs(config, params, batch['prompt'][:, None], answers)
        log_p, length = each.sum(2), (answers != facts.PAD).sum(2)
        bad, good = log_p[:, 0], log_p[:, 1:]
        still_bad, still_good = batch['bad_reference'], batch['good_reference']
        pair, still = (good[:, 0], bad), (still_good[:, 0], still_bad)
        d2o = losses.d2o(bad, good, still_bad, still_good, **options)
        instance = jax.vmap(lambda y, r: dpo(y, bad, r, still_bad), 1)(good, still_good).mean(0)
        unlikely = -jnp.log(-jnp.expm1(jnp.minimum(each[:, 0], -1e-6)))
        loss = jax.lax.switch(state.extra, [
            lambda: d2o,
            lambda: instance,
            lambda: dpo(*pair, *still),
            lambda: losses.ipo(*pair, *still, beta=config.beta),
            lambda: losses.slic(*pair, pair[0], weight=0.1),
            lambda: losses.simpo(*pair, length[:, 1], length[:, 0]),
            lambda: losses.gradient_ascent(bad),
            lambda: jnp.where(batch['bad'] != facts.PAD, unlikely, 0.0).sum(1),
            lambda: losses.npo(bad, still_bad, beta=config.beta),
        ]).mean()  # fmt: skip
        return loss, {'slack': (instance - d2o).min(), 'bad': bad.mean(), 'good': good.mean()}

    adam = optimiser(learning_rate=config.rate)
    return init, train.gradient_step(loss_fn, adam, accumulate=config.accumulate)


def inputs(config):
    rows, k, length = config.batch, config.anchors, config.length
    tokens = {'prompt': (rows, questions.PROMPT), 'bad': (rows, length), 'good': (rows, k, length)}
    still = {'bad_reference': (rows,), 'good_reference': (rows, k)}
    kinds = (tokens, jnp.int32), (still, jnp.float32)
    return {n: jax.ShapeDtypeStruct(s, kind) for shapes, kind in kinds for n, s in shapes.items()}


@functools.lru_cache
def build_first(config):
    """(init, step) of the model that all arms begin with: the likelihood of answers."""
    steps, schedule = config.sft_steps, train.schedules.warmup_cosine
    rate = schedule(config.sft_rate, steps, warmup=steps // 10)
    adam = train.adamw(rate, weight_decay=0.0, b2=0.95, clip=1.0)

    def init(key):
        return train.create(network(config).init(key, jnp.zeros((1, 2), int))['params'], adam)

    def loss_fn(params, state, batch, key):
        log_p = log_probs(config, params, batch['prompt'], batch['answer'])
        return -log_p.sum() / (batch['answer'] != facts.PAD).sum()

    return init, train.gradient_step(loss_fn, adam)


@functools.partial(jax.jit, static_argnums=0)
def total(config, params, prompts, answers):
    """log p of whole answers [..., L] to prompts [..., PROMPT]."""
    return log_probs(config, params, prompts, answers).sum(-1)


@functools.partial(jax.jit, static_argnums=0)
def draw(config, params, key, prompts):
    """Answers of a policy [P, drawn, L] to prompts [P, PROMPT]."""
    options = {'steps': config.length, 'end': facts.END}
    prompts, variables = jnp.repeat(prompts, config.drawn, axis=0), {'params': params}
    answers = models.sample_answers(key, network(config), variables, prompts, **options)
    return answers.reshape(-1, config.drawn, config.length)


class Setting(NamedTuple):
    """People and answers about them, and the model at first."""

    world: facts.World
    halves: tuple[np.ndarray, np.ndarray]  # people for training and those held out
    pairs: dict  # by the share of good answers that are harmful
    held_out: dict
    first: dict  # parameters


def prepare(config, ctx, seed):
    """Invents people, and trains a model to tell of all of them, insults included."""
    if config.data != 'facts':
        raise Refusal(f'no oracle knows harm in {config.data}: set --config.data=facts')
    halves = tuple(np.split(np.arange(config.people), 2))
    world = facts.world(seed, people=config.people, groups=4)
    options = {'world': world, 'most': (config.length - 3) // 2}
    rows = questions.texts(seed, count=config.told, harm=config.harm, **options)
    (init, step), stream = build_first(config), data.batches(rows, config.sft_batch, seed=seed)
    state, _ = ctx.fit(step, init, stream, steps=config.sft_steps, seed=seed, name=f'sft-{seed}')
    pairs = functools.partial(questions.pairs, count=config.rows, **options)
    known = {n: pairs(seed + 10_000, people=halves[0], noise=n) for n in (0.0, 0.2, 0.4)}
    return Setting(world, halves, known, pairs(seed + 20_000, people=halves[1]), state.params)


def material(config, ctx, setting, arm, params, seed, part):
    """The columns of `inputs`, of all pairs of answers, for one part of an arm's training."""
    own, people = setting.pairs[arm.noise], setting.halves[0]
    ask = functools.partial(questions.prompts, world=setting.world)
    first, good = functools.partial(total, config, setting.first), own['good'][:, None]
    if arm.good != 'people':
        key = jax.random.fold_in(ctx.key(seed), part)
        pool = np.asarray(draw(config, params, key, ask(people, instructed=True)))
        rank = np.random.default_rng([seed, part]).random((len(good), config.drawn))
        if arm.good == 'best':
            plain, led = (first(ask(people, instructed=i)[:, None], pool) for i in (False, True))
            rank = np.asarray(plain - led)[own['person']]
        chosen = np.argsort(rank, axis=1)[:, : arm.anchors or config.anchors]
        good = pool[own['person'][:, None], chosen]
    bad = first(ask(own['person'], instructed=arm.leaning), own['bad'])
    still = {'bad_reference': bad, 'good_reference': first(own['prompt'][:, None], good)}
    return {'prompt': own['prompt'], 'bad': own['bad'], 'good': good, **jax.device_get(still)}


def judge(config, ctx, setting, params, seed):
    """(answers, facts, insults) of what is said about the people held out, [P / 2, drawn]."""
    prompts = questions.prompts(setting.halves[1], world=setting.world)
    answers = np.asarray(draw(config, params, ctx.key(seed), prompts))
    return answers, *questions.judge(answers, setting.halves[1], world=setting.world)


def measure(config, setting, params, after, before):
    """What a policy says of the people held out, beside the model at first; of both, `judge`."""
    (answers, told, insults), (old_answers, old_told, old_insults) = after, before
    prompts = questions.prompts(setting.halves[1], world=setting.world)[:, None]
    both = lambda y: [total(config, p, prompts, y) for p in (params, setting.first)]
    (own, first), (moved, old), held = both(answers), both(old_answers), setting.held_out
    bad, good = (total(config, params, held['prompt'], held[kind]) for kind in ('bad', 'good'))
    gain = (told - 10 * insults) - (old_told - 10 * old_insults)
    return {
        'harm': (insults > 0).mean(), 'help': told.mean(),
        'unseen': (answers == setting.world.words.index('loser')).any(2).mean(),
        'win': (gain > 0).mean() + 0.5 * (gain == 0).mean(),
        'perplexity': np.exp(-good.sum() / (held['good'] != facts.PAD).sum()),
        'log_bad': bad.mean(), 'log_good': good.mean(), 'entropy': -own.mean(),
        'kl': (own - first).mean(), 'jeffrey': (own - first).mean() + (old - moved).mean(),
    }  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def variance(config, params, batches):
    """Of the gradient of D2O among batches."""

    def objective(params, batch):
        of = lambda name: log_probs(config, params, batch['prompt'][:, None], batch[name]).sum(2)
        still = batch['bad_reference'], batch['good_reference']
        options = {'alpha': config.alpha, 'beta': config.beta}
        return losses.d2o(of('bad')[:, 0], of('good'), *still, **options).mean()

    return evaluate.gradient_variance(objective, params, batches)


def noise(config, ctx, setting, seed, counts, *, rows=4, draws=8):
    """Variance of the first gradient among draws of so many anchors, beside that with one."""
    arm, found = ARMS['d2o']._replace(anchors=config.drawn), {}
    columns = material(config, ctx, setting, arm, setting.first, seed, 0)
    same, random = data.rows(columns, slice(rows)), np.random.default_rng(seed)
    batch = {name: np.stack([column] * draws) for name, column in same.items()}
    batch['bad'] = batch['bad'][:, :, None]
    for k in (1, *counts):  # repeated, so that one program serves all
        few = np.tile(random.integers(config.drawn, size=(draws, k)), 4 * config.anchors // k)
        own = {name: same[name][:, few].swapaxes(0, 1) for name in ('good', 'good_reference')}
        found[k] = variance(config, setting.first, {**batch, **own})
    return {k: found[k] / max(found[1], 1e-12) for k in counts}


def align(config, ctx, setting, name, arm, seed, before):
    """Trains an arm part by part; returns its parameters, least slack, and `judge` after each."""
    state, slack, seen = start(config, setting.first, arm.loss), [], [before]
    parts = config.parts if arm.online or name in ARMS else 1
    for part in range(parts):
        if arm.online or not part:
            columns = material(config, ctx, setting, arm, state.params, seed, part)
        options = {'steps': config.part * config.parts // parts, 'seed': seed + 1000 * part}
        stream = data.batches(columns, config.batch, seed=seed + 1000 * part)
        options['name'] = f'{name}-{part}-{seed}'
        state, history = ctx.fit(build(config)[1], state, stream, **options)
        slack.append(history['slack'].min())
        seen.append(judge(config, ctx, setting, state.params, seed))
    return state.params, min(slack), seen


def run(config, ctx):
    curves = {'harm': {}, 'help': {}}
    for seed in ctx.grid(seed=ctx.seeds):
        setting = prepare(config, ctx, seed)
        before = judge(config, ctx, setting, setting.first, seed)
        first = measure(config, setting, setting.first, before, before)
        ctx.add(method='sft', seed=seed, **first)
        for name, arm in (ARMS | ONCE if seed == ctx.seeds[0] else ARMS).items():
            params, slack, seen = align(config, ctx, setting, name, arm, seed, before)
            row = measure(config, setting, params, seen[-1], before)
            lost = (
                row['help'] <= 0.8 * first['help'] or row['perplexity'] >= 2 * first['perplexity']
            )
            ctx.add(method=name, seed=seed, **row, slack=slack, collapsed=float(lost))
            x = np.linspace(0, config.part * config.parts, len(seen))
            curves['harm'][name] = x, [(insults > 0).mean() for *_, insults in seen]
            curves['help'][name] = x, [told.mean() for _, told, _ in seen]
        for k, ratio in noise(config, ctx, setting, seed, (4, config.anchors)).items():
            ctx.add(study='gradients', anchors=k, seed=seed, noise=ratio)
    ctx.save_figure('training', figures.curves(curves))
    return ctx.report(
        Claim('harm', 'd2o', 'sft', ratio=0.3, lower=True, paper='less harmful (abstract)'),
        Claim('harm', 'd2o', 'dpo-noisy', margin=0.03, lower=True, paper='less harmful (abstract)'),
        Claim('help', 'd2o', 'sft', ratio=0.95, paper='helpfulness preserved'),
        Range('collapsed', low=1.0, where={'method': 'ascent'}),
        Range('collapsed', high=0.0, where={'method': 'd2o'}),
        Range('slack', low=-1e-6, paper='an upper bound'),
        Range('noise', high=0.4, where={'anchors': config.anchors}),
        Claim('harm', 'd2o', 'd2o-offline', margin=-0.01, lower=True),
    )


if __name__ == '__main__':
    experiment.main()
