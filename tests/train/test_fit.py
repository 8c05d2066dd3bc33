"""The loop: what it computes, what it refuses, and that a killed run ends with the same bits."""

import os
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jssl import train
from jssl.errors import Refusal


def problem(rows=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    return {'x': x, 'y': x @ rng.normal(size=(4, 2)).astype(np.float32)}


def loss(params, state, batch, key):
    noise = 0.1 * jax.random.normal(key, batch['x'].shape)
    return jnp.mean((jnp.dot(batch['x'] + noise, params['w']) - batch['y']) ** 2)


def program(ema=0.9, **options):
    optimiser = train.adamw(0.02)
    start = lambda key: {'w': jax.random.normal(key, (4, 2))}
    init = lambda key: train.create(start(key), optimiser, average=True)
    return init, train.gradient_step(loss, optimiser, ema=ema, **options)


def same_bits(a, b):
    equal = jax.tree.map(lambda x, y: np.array_equal(np.asarray(x), np.asarray(y)), a, b)
    return all(jax.tree.leaves(equal))


class Batches(list):
    """A list of batches that says how many rows each has, as streams do."""

    batch = 16

    def iterate(self, start, process=0, processes=1):
        return iter(self[start:])


def batches(count):
    whole = problem(16 * count)
    return Batches({k: v[16 * i : 16 * (i + 1)] for k, v in whole.items()} for i in range(count))


def quiet(*_):
    pass


def test_follows_the_gradient_as_numpy_does():
    data = problem()
    plain = lambda params, state, batch, key: jnp.mean(
        (jnp.dot(batch['x'], params['w']) - batch['y']) ** 2
    )
    optimiser = optax.sgd(0.1)
    init = lambda key: train.create({'w': jnp.ones((4, 2))}, optimiser)
    state, history = train.fit(
        train.gradient_step(plain, optimiser), init, data, steps=20, every=1, progress=False
    )
    w = np.ones((4, 2))
    losses = []
    for _ in range(20):
        error = data['x'].astype(np.float64) @ w - data['y']
        losses.append((error**2).mean())
        w -= 0.1 * 2 * data['x'].T @ error / error.size
    np.testing.assert_allclose(history['loss'], losses, rtol=1e-4)
    np.testing.assert_allclose(state.params['w'], w, rtol=1e-4)
    assert history['step'].tolist() == list(range(1, 21))


def test_resumes_to_the_same_bits_after_a_stop(tmp_path):
    init, step = program()
    stream = batches(40)
    whole, history = train.fit(step, init, stream, steps=40, every=1, progress=False)
    checkpoint = train.Checkpoint(tmp_path, every=7)
    with pytest.raises(Refusal, match='ended after 24 of 40'):
        train.fit(
            step, init, Batches(stream[:24]), steps=40, every=1, checkpoint=checkpoint, log=quiet
        )
    lines = []
    resumed, again = train.fit(
        step, init, stream, steps=40, every=1, checkpoint=checkpoint, log=lines.append
    )
    assert lines[0] == 'fit: resumed at step 21 of 40'
    assert same_bits(whole, resumed)
    assert same_bits(history, again)


def test_a_finished_fit_is_not_run_again(tmp_path):
    init, step = program()
    first, history = train.fit(step, init, problem(), steps=10, checkpoint=tmp_path, log=quiet)

    def never(state, batch, key):
        raise AssertionError('a finished fit took a step')

    second, again = train.fit(never, init, problem(), steps=10, checkpoint=tmp_path, log=quiet)
    assert same_bits(first, second)
    assert same_bits(history, again)


KILLED = """
    import sys, time
    import jax, jax.numpy as jnp, numpy as np
    from jssl import train
    sys.path.insert(0, {here!r})
    from test_fit import program, batches

    init, step = program()
    train.fit(step, init, batches(60), steps=60, every=1, progress=False,
              checkpoint=train.Checkpoint({folder!r}, every=4),
              log=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize('kind', ['SIGKILL', 'SIGTERM'])
def test_a_killed_process_resumes_to_the_same_bits(tmp_path, kind):
    """Killed for real, several times, while steps and asynchronous saves are under way."""
    script = textwrap.dedent(KILLED).format(here=os.path.dirname(__file__), folder=str(tmp_path))
    script = script.replace(
        'init, step = program()',
        'init, quick = program()\n'
        'def step(state, batch, key):\n'
        '    state, metrics = quick(state, batch, key)\n'
        '    jax.debug.callback(lambda: time.sleep(0.02))\n'  # long enough to be killed within
        '    return state, metrics',
    )
    for attempt in range(8):
        run = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True)
        try:
            run.wait(timeout=60 if attempt > 2 else 3.5 + 0.4 * attempt)
        except subprocess.TimeoutExpired:
            run.send_signal(getattr(signal, kind))
            run.wait(timeout=60)
        if run.returncode == 0:
            break
    assert run.returncode == 0
    init, step = program()
    whole, history = train.fit(step, init, batches(60), steps=60, every=1, progress=False)
    killed, again = train.fit(
        step, init, batches(60), steps=60, every=1, checkpoint=tmp_path, log=quiet
    )
    assert same_bits(whole, killed)
    assert same_bits(history, again)
    leftovers = list((tmp_path / 'steps').glob('*tmp*'))
    assert not leftovers


def test_nan_stops_with_metric_and_step():
    def step(state, batch, key):
        state = state + 1
        return state, {'loss': jnp.where(state >= 13, jnp.nan, 0.5)}

    with pytest.raises(Refusal, match='boom: loss is nan at step 13 of 50'):
        train.fit(step, lambda key: jnp.zeros(()), None, steps=50, name='boom', progress=False)


def test_nan_is_never_saved(tmp_path):
    def step(state, batch, key):
        state = state + 1
        return state, {'loss': jnp.where(state >= 13, jnp.inf, 0.5)}

    checkpoint = train.Checkpoint(tmp_path, every=5)
    for _ in range(2):  # the second time it resumes at 10 and meets the same step again
        with pytest.raises(Refusal, match='loss is inf at step 13'):
            train.fit(
                step, lambda key: jnp.zeros(()), None, steps=50, checkpoint=checkpoint, log=quiet
            )
    assert sorted(int(p.name) for p in (tmp_path / 'steps').iterdir()) == [5, 10]


def test_keeps_the_last_and_the_best(tmp_path):
    def step(state, batch, key):
        state = state + 1
        return state, {'score': -jnp.abs(state - 30.0)}

    checkpoint = train.Checkpoint(tmp_path, every=10, keep=2, best='score')
    train.fit(step, lambda key: jnp.zeros(()), None, steps=80, checkpoint=checkpoint, log=quiet)
    assert sorted(int(p.name) for p in (tmp_path / 'steps').iterdir()) == [30, 70, 80]


def test_other_config_is_refused_and_named(tmp_path):
    init, step = program()
    train.fit(step, init, problem(), steps=3, checkpoint=tmp_path, config={'rate': 1}, log=quiet)
    with pytest.raises(Refusal, match='made with rate=1, this run has 2'):
        train.fit(
            step, init, problem(), steps=3, checkpoint=tmp_path, config={'rate': 2}, log=quiet
        )


@pytest.mark.parametrize('mesh_text', ['data:8', 'fsdp:8', 'data:2,fsdp:4', 'data:4,tensor:2'])
def test_one_and_eight_devices_give_the_same_losses(devices, mesh_text):
    optimiser = train.adamw(0.02)
    data = {k: np.repeat(v, 32, axis=1) for k, v in problem().items()}

    def start(key):
        up, down = jax.random.split(key)
        return {
            'up': {'kernel': jax.random.normal(up, (128, 256)) / 11},
            'down': {'kernel': jax.random.normal(down, (256, 64)) / 16},
        }

    def loss(params, state, batch, key):
        noisy = batch['x'] + 0.1 * jax.random.normal(key, batch['x'].shape)
        hidden = jax.nn.gelu(jnp.dot(noisy, params['up']['kernel']))
        return jnp.mean((jnp.dot(hidden, params['down']['kernel']) - batch['y']) ** 2)

    init = lambda key: train.create(start(key), optimiser, average=True)
    step = train.gradient_step(loss, optimiser, ema=0.9)
    one = train.make_mesh('data:1', devices[:1])
    options = {'steps': 15, 'every': 1, 'progress': False}
    _, single = train.fit(step, init, data, mesh=one, **options)
    many = train.make_mesh(mesh_text, devices)
    sharded, spread = train.fit(step, init, data, mesh=many, **options)
    np.testing.assert_allclose(spread['loss'], single['loss'], rtol=1e-5)
    kernel = sharded.params['up']['kernel']
    shard = kernel.addressable_shards[0].data.size
    split = 8 if mesh_text == 'fsdp:8' else {'data:8': 1, 'data:2,fsdp:4': 4}.get(mesh_text, 2)
    assert shard * split == kernel.size
    moment = (
        sharded.opt_state[0].mu['up']['kernel'] if isinstance(sharded.opt_state, tuple) else None
    )
    assert moment.sharding == kernel.sharding


def test_compiles_once_for_several_seeds():
    traces = []

    def step(state, batch, key):
        traces.append(1)
        return state + jax.random.normal(key), {'state': state}

    init = lambda key: jax.random.normal(key)
    ends = [float(train.fit(step, init, None, steps=5, key=s, progress=False)[0]) for s in range(4)]
    assert len(traces) == 1
    assert len(set(ends)) == 4


def test_goes_on_from_a_state_and_leaves_it_alone(tmp_path):
    init, step = program()
    first, _ = train.fit(step, init, batches(5), steps=5, progress=False)
    kept = jax.tree.map(np.array, first)
    ends = [
        train.fit(step, start, batches(5), steps=5, key=7, progress=False, checkpoint=place)[0]
        for start, place in ((first, None), (lambda key: first, None), (first, tmp_path))
    ]
    assert same_bits(first, kept)
    assert same_bits(ends[0], ends[1])
    assert same_bits(ends[0], ends[2])
    assert not same_bits(ends[0].params, first.params)


def test_batches_of_every_kind_give_the_same_run():
    init, step = program()
    stream = batches(12)
    ends = [
        train.fit(step, init, kind, steps=12, progress=False)[0]
        for kind in (stream, list(stream), (b for b in stream))
    ]
    assert same_bits(ends[0], ends[1])
    assert same_bits(ends[0], ends[2])


def test_non_scalar_metric_is_refused():
    step = lambda state, batch, key: (state, {'loss': jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"metric 'loss' has shape \(3,\)"):
        train.fit(step, lambda key: jnp.zeros(()), None, steps=2, progress=False)


def test_batch_that_does_not_divide_is_refused(devices):
    init, step = program()
    with pytest.raises(Refusal, match='60 rows, which do not divide over the 8'):
        train.fit(step, init, problem(60), steps=2, mesh='data:8', progress=False)


def test_progress_in_a_pipe_is_a_line_now_and_then(monkeypatch):
    from jssl.train import progress

    monkeypatch.setattr(progress.Progress, 'PIPE', 0.0)
    lines = []
    train.fit(
        lambda state, batch, key: (state + 1, {'loss': state}),
        lambda key: jnp.zeros(()),
        None,
        steps=30,
        name='pipe',
        log=lines.append,
    )
    assert all('\r' not in line for line in lines)
    assert lines[-1].startswith('pipe  30/30  loss 29')
    assert 'steps/s' in lines[-1]


def test_clock():
    from jssl.train.progress import clock

    assert [clock(s) for s in (0.4, 61, 3909)] == ['0:00', '1:01', '1:05:09']
