"""Two real processes over loopback compute what one process computes."""

import os
import pathlib
import socket
import subprocess
import sys
import textwrap

import numpy as np

from jssl import train

HERE = pathlib.Path(__file__).parent

PROCESS = """
    import sys
    process, port, folder, half = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    sys.path.insert(0, {here!r})
    import jax, numpy as np
    jax.config.update('jax_num_cpu_devices', 4)
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    jax.distributed.initialize('127.0.0.1:' + port, 2, process)
    from jssl import train
    from test_distributed import init, step, Rows

    assert jax.device_count() == 8 and jax.process_count() == 2
    lines = []
    state, history = train.fit(
        step, init, Rows(), steps=half or 12, every=1, mesh='data:2,fsdp:4',
        checkpoint=train.Checkpoint(folder, every=6), log=lines.append)
    if process == 0:
        np.save(folder + '/loss.npy', history['loss'])
        print(*lines, sep='\\n')
"""


class Rows:
    """Batches by number, each process its own half of the rows: as `data.batches` gives them."""

    batch = 16

    def iterate(self, start, process=0, processes=1):
        rows = slice(process * 16 // processes, (process + 1) * 16 // processes)
        for number in range(start, 12):
            rng = np.random.default_rng(number)
            x = rng.normal(size=(16, 128)).astype(np.float32)
            yield {'x': x[rows], 'y': x[rows, :1] ** 2}


def init(key):
    import jax

    params = {'up': {'kernel': jax.random.normal(key, (128, 256)) / 11}}
    return train.create(params, train.adamw(0.01))


def loss(params, state, batch, key):
    import jax
    import jax.numpy as jnp

    noisy = batch['x'] + 0.1 * jax.random.normal(key, batch['x'].shape)
    hidden = jnp.tanh(jnp.dot(noisy, params['up']['kernel']))
    logits = jnp.dot(hidden, hidden.T)  # every row meets every other, wherever it lives
    return jnp.mean((logits - jnp.dot(batch['y'], batch['y'].T)) ** 2)


step = train.gradient_step(loss, train.adamw(0.01))


def together(folder, half=0):
    """Runs both processes and returns what the first one printed."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    script = textwrap.dedent(PROCESS).format(here=str(HERE))
    environment = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'}
    both = [
        subprocess.Popen(
            [sys.executable, '-c', script, str(p), port, str(folder), str(half)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for p in range(2)
    ]
    outputs = [p.communicate(timeout=240) for p in both]
    assert all(p.returncode == 0 for p in both), outputs
    return outputs[0][0]


def test_two_processes_equal_one_and_resume_as_one(tmp_path, devices):
    _, alone = train.fit(
        step,
        init,
        Rows(),
        steps=12,
        every=1,
        mesh=train.make_mesh('data:1', devices[:1]),
        progress=False,
    )
    (tmp_path / 'both').mkdir()
    together(tmp_path / 'both', half=6)
    printed = together(tmp_path / 'both')
    assert 'resumed at step 6 of 12' in printed
    np.testing.assert_allclose(np.load(tmp_path / 'both' / 'loss.npy'), alone['loss'], rtol=1e-4)
    # and what two processes saved, one process on one device reads
    _, read = train.fit(
        step,
        init,
        Rows(),
        steps=12,
        every=1,
        mesh=train.make_mesh('data:1', devices[:1]),
        checkpoint=tmp_path / 'both',
        log=lambda line: None,
    )
    np.testing.assert_array_equal(read['loss'], np.load(tmp_path / 'both' / 'loss.npy'))
