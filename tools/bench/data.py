"""Examples per second of each set, and of each way to the device with each augmentation.

python tools/bench/data.py --batch 256
"""

import argparse
import contextlib
import functools
import itertools
import time

import jax
import numpy as np

from jssl import data
from jssl.data import augment
from jssl.data.resident import resident
from jssl.errors import Refusal
from jssl.train import runtime

SIZE = 32


def policies() -> dict:
    """(key, images) -> images, what a step would begin with."""

    def crop_and_flip(key, images):
        k_crop, k_flip = jax.random.split(key)
        return augment.flip(k_flip, augment.random_crop(k_crop, images))

    return {
        'none': lambda key, images: images,
        'crop, flip': crop_and_flip,
        'simclr': functools.partial(augment.simclr, size=SIZE),
        'rand_augment': augment.rand_augment,
    }


def ways(columns, batch: int, workers) -> dict:
    """Streams of the same batches."""
    grain = {
        f'grain, {n} workers': data.batches(columns, batch, seed=0, workers=n) for n in workers
    }
    return {**grain, 'resident': resident(columns, batch, seed=0)}


def handed(stream):
    """What a step is given: a batch; of a set on the device, its columns and the rows to gather."""
    if hasattr(stream, 'gather'):
        yield from ((stream.held(None), rows) for rows in stream.rows())
    with contextlib.closing(stream.iterate()) as batches:
        yield from ((batch,) for batch in batches)


def rate(stream, policy, seconds: float) -> float:
    """Examples per second until they are augmented, by one program as in `fit`, once warm."""
    gather = getattr(stream, 'gather', lambda batch: batch)

    @jax.jit
    def augmented(key, *batch):
        return policy(key, augment.to_float(gather(*batch)['image'])).mean()

    with contextlib.closing(handed(stream)) as batches:
        for k, batch in zip(range(6), batches, strict=False):
            jax.block_until_ready(augmented(jax.random.key(k), *batch))
        started, done = time.perf_counter(), []
        for k, batch in zip(itertools.count(), batches, strict=False):
            done.append(augmented(jax.random.key(k), *batch))
            if k >= 4:  # as far as a training loop runs ahead
                jax.block_until_ready(done[k - 4])
            if time.perf_counter() - started > seconds:
                break
        jax.block_until_ready(done)
        return len(done) * stream.batch / (time.perf_counter() - started)


def loading(name: str) -> str:
    """Examples per second from nothing to memory."""
    started = time.perf_counter()
    try:
        found = data.columns(data.load(name, 'train'))
    except Refusal as missing:
        return f'not here: {missing}'
    taken = time.perf_counter() - started
    count = len(next(iter(found.values())))
    return f'{count:>10,}{taken:>10.2f}{count / taken:>14,.0f}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = [name for name in data.SETS if not data.missing(name)]
    parser.add_argument('--sets', nargs='*', default=here, help='names; all that are here')
    parser.add_argument('--count', type=int, default=10_000, help='images of 32 pixels to stream')
    parser.add_argument('--batch', type=int, default=256)
    parser.add_argument('--only', nargs='*', help='names of augmentations')
    parser.add_argument('--workers', type=int, nargs='*', default=[0, 1, 2])
    parser.add_argument('--seconds', type=float, default=3.0, help='of every measurement')
    options = parser.parse_args()
    runtime.keep_heap()
    print(f'{jax.devices()[0].device_kind} x {jax.device_count()}')
    if options.sets:
        print(f'\n{"set":<20}{"examples":>10}{"seconds":>10}{"examples/s":>14}')
    for name in options.sets:
        print(f'{name:<20}{loading(name)}', flush=True)
    images = np.random.default_rng(0).integers(0, 256, (options.count, SIZE, SIZE, 3), np.uint8)
    columns = {'image': images, 'label': np.arange(options.count, dtype=np.int32)}
    streams = ways(columns, options.batch, options.workers)
    print(f'\n{"examples/s":<16}' + ''.join(f'{way:>18}' for way in streams))
    for name, policy in policies().items():
        if options.only and name not in options.only:
            continue
        found = [rate(stream, policy, options.seconds) for stream in streams.values()]
        print(f'{name:<16}' + ''.join(f'{x:>18,.0f}' for x in found), flush=True)


if __name__ == '__main__':
    main()
