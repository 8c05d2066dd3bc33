"""What the switches of `train.runtime` are worth here: python tools/bench/train.py [--steps=30].

Every case is a process of its own, and the cases are run round after round, so that a neighbour's
load meets all of them. Printed is the best round of each: seconds per step, page faults per step,
and the seconds that drawing the parameters took.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

CASES = {
    'all on': {},
    'heap off': {'heap': False},
    'one device': {'devices': 1},
    'cache off': {'cache': None},
    'optimised init': {'quick_init': False},
}


def measure(case: dict, steps: int) -> dict:
    quick_init = case.pop('quick_init', True)
    from jssl.train import runtime

    runtime.configure(**case)
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jssl import losses, models, train
    from jssl.train.fit import _Hashable, _initial, _started, compiled_step

    network = models.ViT(patch=4, width=192, depth=4, heads=3, pooling='mean')
    optimiser = train.adamw(1e-3)
    images = np.random.default_rng(0).normal(size=(64, 32, 32, 3)).astype(np.float32)

    def init(key):
        return train.create(network.init(key, jnp.zeros((2, 32, 32, 3)))['params'], optimiser)

    def loss(params, state, batch, key):
        noise = 0.1 * jax.random.normal(key, (2, *batch['image'].shape))
        z1, z2 = (network.apply({'params': params}, batch['image'] + n) for n in noise)
        return losses.nt_xent(z1, z2, temperature=0.1).mean()

    step = train.gradient_step(loss, optimiser)
    mesh = train.make_mesh()
    shapes, _ = compiled_step(init, step, mesh)
    shardings = jax.tree.map(lambda x: x.sharding, shapes)
    started = time.perf_counter()
    if quick_init:
        carry = _initial(_started(init), mesh, _Hashable(shardings))
    else:
        carry = jax.jit(_started(init), out_shardings=shardings)
    jax.block_until_ready(carry(jax.random.key(0)))
    drawing = time.perf_counter() - started

    train.fit(step, init, {'image': images}, steps=3, progress=False)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    started = time.perf_counter()
    train.fit(step, init, {'image': images}, steps=steps, progress=False)
    seconds = time.perf_counter() - started
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return {'step': seconds / steps, 'faults': faults / steps, 'init': drawing}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--steps', type=int, default=30)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--case', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(dict(CASES[options.case]), options.steps)))
        return
    found = {name: [] for name in CASES}
    for _ in range(options.rounds):
        for name in CASES:
            command = [sys.executable, __file__, f'--steps={options.steps}', f'--case={name}']
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(f'{"":16}{"s/step":>10}{"faults/step":>14}{"init s":>10}')
    for name, rounds in found.items():
        best = {k: min(r[k] for r in rounds) for k in rounds[0]}
        print(f'{name:16}{best["step"]:10.3f}{best["faults"]:14.0f}{best["init"]:10.2f}')


if __name__ == '__main__':
    main()
