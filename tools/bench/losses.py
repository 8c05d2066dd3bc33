"""Time and memory of the contrastive losses: plain, in tiles, and optax's ntxent.

    python -m tools.bench.losses --batch 512 2048 8192 --width 128 --chunk 256

Forward and backward of the mean loss with respect to both views, compiled. The variants of one
batch size take turns, so that a busy machine slows all of them, and the median of the rounds is
printed; `memory` is the compiler's own account of temporaries, arguments and results not counted.
A variant that needs more than --limit bytes of them is compiled and not run. One that runs says
how far its loss is from the plain one's, so that nobody compares different maths.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import optax

from jssl import losses


def optax_ntxent(z1, z2):
    image = jnp.arange(z1.shape[0])
    return optax.losses.ntxent(
        jnp.concatenate([z1, z2]), jnp.concatenate([image, image]), temperature=0.1
    )


def variants(chunk):
    """(name, scalar loss of two views); the first of each family is what the others must equal."""
    mean = lambda loss, **options: lambda z1, z2: loss(z1, z2, **options).mean()
    return {
        'info_nce': {
            'plain': mean(losses.info_nce),
            f'chunk={chunk}': mean(losses.info_nce, chunk=chunk),
        },
        'nt_xent': {
            'plain': mean(losses.nt_xent),
            f'chunk={chunk}': mean(losses.nt_xent, chunk=chunk),
            'optax': optax_ntxent,
        },
    }


def compiled(loss, batch, width, dtype):
    views = [jax.ShapeDtypeStruct((batch, width), dtype)] * 2
    executable = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*views).compile()
    return executable, executable.memory_analysis().temp_size_in_bytes


def seconds(executable, z1, z2):
    start = time.perf_counter()
    value, _ = jax.block_until_ready(executable(z1, z2))
    return time.perf_counter() - start, float(value)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch', type=int, nargs='+', default=[512, 2048, 8192])
    parser.add_argument('--width', type=int, default=128)
    parser.add_argument('--chunk', type=int, default=256)
    parser.add_argument('--dtype', choices=['float32', 'bfloat16'], default='float32')
    parser.add_argument('--rounds', type=int, default=5, help='turns of every variant')
    parser.add_argument('--limit', type=float, default=8e9, help='bytes of temporaries to run with')
    args = parser.parse_args()

    print(f'{jax.devices()[0].device_kind}, D = {args.width}, {args.dtype}')
    print(f'{"loss":10}{"B":>8}  {"variant":12}{"ms":>10}{"memory MB":>12}{"off plain":>12}')
    for batch in args.batch:
        z1 = jax.random.normal(jax.random.key(0), (batch, args.width), args.dtype)
        noise = jax.random.normal(jax.random.key(1), (batch, args.width), args.dtype)
        z2 = z1 + noise
        for family, members in variants(args.chunk).items():
            built = {
                name: compiled(f, batch, args.width, args.dtype) for name, f in members.items()
            }
            fitting = [name for name, (_, memory) in built.items() if memory <= args.limit]
            for name in fitting:
                seconds(built[name][0], z1, z2)
            turns = [
                {name: seconds(built[name][0], z1, z2) for name in fitting}
                for _ in range(args.rounds)
            ]
            for name, (_, memory) in built.items():
                time_ms = off = 'not run'
                if name in fitting:
                    time_ms = f'{1e3 * statistics.median(turn[name][0] for turn in turns):.1f}'
                    value = turns[0][name][1]
                    off = (
                        f'{value - turns[0]["plain"][1]:.1e}' if 'plain' in fitting else f'{value}'
                    )
                print(f'{family:10}{batch:8}  {name:12}{time_ms:>10}{memory / 1e6:12.1f}{off:>12}')


if __name__ == '__main__':
    main()
