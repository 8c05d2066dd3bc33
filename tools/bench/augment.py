"""Images per second of each augmentation on this machine's default device.

python tools/bench/augment.py --sizes 32 224 --batch 256
"""

import argparse
import functools
import time

import jax
import numpy as np

from jssl.data import augment
from jssl.data.rotations import every_turn


def operations(size: int) -> dict:
    """Every augmentation with its defaults, as (key, images) -> images."""
    return {
        'random_resized_crop': functools.partial(augment.random_resized_crop, size=size),
        'random_crop': augment.random_crop,
        'flip': augment.flip,
        'colour_jitter': augment.colour_jitter,
        'grayscale': augment.grayscale,
        'blur': augment.blur,
        'solarize': augment.solarize,
        'erase': augment.erase,
        'rand_augment': augment.rand_augment,
        'every_turn': lambda key, images: every_turn(images),
        'simclr': functools.partial(augment.simclr, size=size),
    }


def seconds(operation, key, images, repeats: int) -> tuple[float, float]:
    """Seconds to compile, and the fastest of some runs."""
    started = time.perf_counter()
    compiled = jax.jit(operation).lower(key, images).compile()
    compiling = time.perf_counter() - started
    runs = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        jax.block_until_ready(compiled(key, images))
        runs.append(time.perf_counter() - started)
    return compiling, min(runs[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', type=int, nargs='+', default=[32, 224], help='pixels a side')
    parser.add_argument('--batch', type=int, default=256, help='images; fewer at 224 by area')
    parser.add_argument('--repeats', type=int, default=5, help='runs, of which the fastest counts')
    parser.add_argument('--only', nargs='*', help='names of augmentations')
    options = parser.parse_args()
    print(f'{jax.devices()[0].device_kind} x {jax.device_count()}')
    for size in options.sizes:
        batch = max(8, options.batch * 32**2 // size**2) if size > 32 else options.batch
        images = np.random.default_rng(0).random((batch, size, size, 3), np.float32)
        images = jax.device_put(images)
        print(f'\n{size} pixels, {batch} images   images/s   compile s')
        for name, operation in operations(size).items():
            if not options.only or name in options.only:
                compiling, run = seconds(operation, jax.random.key(0), images, options.repeats)
                print(f'{name:<22}{batch / run:>15,.0f}{compiling:>12.1f}')


if __name__ == '__main__':
    main()
