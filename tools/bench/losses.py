"""Time and memory of the in-batch losses, plain and in tiles, beside optax's and PyTorch's.

    python -m tools.bench.losses --batch 64 1024 4096 --only nt_xent circle

Forward and backward of the mean loss with respect to all rows, in float32. Every measurement has a
process of its own; those of one loss and batch take turns, so that a busy machine slows all of
them. Printed are the fastest turn, the peak of resident memory over what the process held before
(Linux), and how far the loss is from the plain one's, so that nobody compares different maths.
optax is always there; lightly and pytorch-metric-learning are measured where they are installed. A
measurement that would take more than --limit bytes is stopped, and has no larger batch.
"""

import argparse
import contextlib
import functools
import importlib
import importlib.util
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import losses


def optax_ntxent(z1, z2):
    image = jnp.arange(z1.shape[0])
    both = jnp.concatenate([z1, z2]), jnp.concatenate([image, image])
    return optax.losses.ntxent(*both, temperature=0.1)


def torch_loss(module, name, **options):
    """A loss of a PyTorch collection, imported and made when it is first called."""

    @functools.cache
    def made():
        return getattr(importlib.import_module(module), name)(**options)

    return lambda *rows: made()(*rows)


lightly = functools.partial(torch_loss, 'lightly.loss')
metric_learning = functools.partial(torch_loss, 'pytorch_metric_learning.losses')


def of_views(loss):
    """A loss of rows and labels as one of two views."""

    def of_both(z1, z2):
        import torch

        image = torch.arange(len(z1))
        return loss(torch.cat([z1, z2]), torch.cat([image, image]))

    return of_both


PEERS = {  # where a peer is looked for
    'optax': 'optax',
    'lightly': 'lightly',
    'metric-learning': 'pytorch_metric_learning',
}
TILED = {  # loss: (ours, those of the peers), of two views or of rows and labels
    'nt_xent': (
        losses.nt_xent,
        {
            'optax': optax_ntxent,
            'lightly': lightly('NTXentLoss', temperature=0.1),
            'metric-learning': of_views(metric_learning('NTXentLoss', temperature=0.1)),
        },
    ),
    'decoupled_contrastive': (
        losses.decoupled_contrastive,
        {'lightly': lightly('DCLLoss', temperature=0.1)},
    ),
    'sup_con': (losses.sup_con, {'metric-learning': metric_learning('SupConLoss')}),
    'multi_similarity': (
        functools.partial(losses.multi_similarity, base=0.5),
        {'metric-learning': metric_learning('MultiSimilarityLoss')},
    ),
    'circle': (
        functools.partial(losses.circle, margin=0.4, scale=80.0),
        {'metric-learning': metric_learning('CircleLoss')},
    ),
    'nca': (losses.nca, {'metric-learning': metric_learning('NCALoss')}),
    'fast_ap': (losses.fast_ap, {'metric-learning': metric_learning('FastAPLoss')}),
}
WHOLE = {
    'barlow_twins': (losses.barlow_twins, {'lightly': lightly('BarlowTwinsLoss')}),
    'vicreg': (losses.vicreg, {'lightly': lightly('VICRegLoss')}),
}
OF_LABELS = ('sup_con', 'multi_similarity', 'circle', 'nca', 'fast_ap')


def draw(loss, batch, width):
    """Two views, or rows with labels, eight to a class."""
    random = np.random.default_rng(0)
    z = random.normal(size=(batch, width)).astype(np.float32)
    if loss in OF_LABELS:
        return z, np.arange(batch) % max(2, batch // 8)
    return z, z + random.normal(size=z.shape).astype(np.float32)


def with_jax(loss, arrays):
    """A function that returns the value and has computed the gradient."""
    live = tuple(i for i, a in enumerate(arrays) if a.dtype == np.float32)
    arrays = [jnp.asarray(a) for a in arrays]
    program = jax.jit(jax.value_and_grad(lambda *a: loss(*a).mean(), live))
    program = program.lower(*arrays).compile()
    return lambda: jax.block_until_ready(program(*arrays))[0]


def with_torch(loss, arrays):
    import torch

    tensors = [torch.from_numpy(a) for a in arrays]
    live = [t.requires_grad_() for t in tensors if t.is_floating_point()]

    def run():
        value = loss(*tensors)
        torch.autograd.grad(value, live)
        return value.detach()

    return run


def measure(loss, name, batch, width, chunk, limit):
    """Runs once for every line that arrives, and answers with seconds, bytes and the value."""
    ours, peers = (TILED | WHOLE)[loss]
    function = ours if name == 'plain' else functools.partial(ours, chunk=chunk)
    build = with_torch if name in ('lightly', 'metric-learning') else with_jax
    run = build(peers.get(name, function), draw(loss, batch, width))
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for _ in sys.stdin:
        pathlib.Path('/proc/self/clear_refs').write_text('5')  # the peak starts again from now
        before, start = resident('VmRSS'), time.perf_counter()
        value = float(run())
        seconds = time.perf_counter() - start
        print(json.dumps([seconds, resident('VmHWM') - before, value]), flush=True)


def resident(field):
    """Bytes of this process in memory: now (VmRSS), or at most (VmHWM)."""
    lines = pathlib.Path('/proc/self/status').read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def turns(loss, names, batch, options):
    """{name: (seconds, bytes, value) of every round, or a line that says why there are none}."""
    command = [sys.executable, '-m', 'tools.bench.losses', '--batch', str(batch)]
    for option in ('width', 'chunk', 'limit'):
        command += [f'--{option}', str(getattr(options, option))]
    with contextlib.ExitStack() as stack:
        complaints = {name: stack.enter_context(tempfile.TemporaryFile('w+')) for name in names}
        pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'bufsize': 0}
        processes = {
            name: stack.enter_context(
                subprocess.Popen(
                    [*command, '--measure', loss, name], stderr=complaints[name], **pipes
                )
            )
            for name in names
        }
        found = {name: [] for name in names}
        for _ in range(options.rounds + 1):
            for name, process in processes.items():
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(b'\n')
                if answer := process.stdout.readline():
                    found[name].append(json.loads(answer))
        for name, rows in found.items():
            if len(rows) <= options.rounds:
                complaints[name].seek(0)
                found[name] = (complaints[name].read().splitlines() or ['stopped'])[-1][:70]
        return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch', type=int, nargs='+', default=[64, 1024, 4096])
    parser.add_argument('--width', type=int, default=128)
    parser.add_argument('--chunk', type=int, default=256)
    parser.add_argument('--rounds', type=int, default=3, help='turns after the first')
    parser.add_argument('--limit', type=int, default=8 * 10**9, help='bytes that one may take')
    parser.add_argument(
        '--patience', type=float, default=60, help='seconds; who takes longer has no larger batch'
    )
    parser.add_argument('--only', nargs='*', default=[*TILED, *WHOLE], help='names of losses')
    parser.add_argument('--measure', nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        batch, width = options.batch[0], options.width
        return measure(*options.measure, batch, width, options.chunk, options.limit)

    there = {peer for peer, module in PEERS.items() if importlib.util.find_spec(module)}
    for peer in sorted(PEERS.keys() - there):
        print(f'{peer} is not installed: skipped')
    print(f'D = {options.width}, tiles of {options.chunk} rows\n')
    print(f'{"loss":24}{"B":>8}  {"variant":16}{"ms":>10}{"memory MB":>12}{"off plain":>12}')
    for loss in options.only:
        names = ['plain', 'chunk'] if loss in TILED else ['plain']
        names += [peer for peer in (TILED | WHOLE)[loss][1] if peer in there]
        for batch in options.batch:
            found = turns(loss, names, batch, options)
            for name, rows in found.items():
                line = f'{loss:24}{batch:8}  {name:16}'
                if isinstance(rows, str):
                    print(f'{line}   {rows}', flush=True)
                    names.remove(name)
                    continue
                seconds, memory = min(row[0] for row in rows[1:]), max(row[1] for row in rows)
                plain = found.get('plain', '')
                off = '' if isinstance(plain, str) else f'{rows[0][2] - plain[0][2]:.1e}'
                if seconds > options.patience:
                    names.remove(name)
                print(f'{line}{1e3 * seconds:10.1f}{memory / 1e6:12.1f}{off:>12}', flush=True)


if __name__ == '__main__':
    main()
