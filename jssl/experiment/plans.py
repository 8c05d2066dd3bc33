"""What every paper preset needs on 8 and on 256 devices: planned one by one, kept, tabulated."""

import concurrent.futures
import json
import math
import multiprocessing
import os

import jax

from jssl.experiment import planner, registry

FILE = registry.ROOT / 'experiments' / 'plans.json'
DEVICES = (8, 256)


def record(entry: registry.Entry) -> bool:
    """Plans an experiment in processes of their own, since each simulates another machine."""
    if not hasattr(registry.load(entry), 'build'):
        return True
    made = {}
    for devices in DEVICES:
        spawn, mesh = multiprocessing.get_context('spawn'), fitting_mesh(entry, devices)
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
            made[str(devices)] = pool.submit(figures, entry, mesh, devices).result()
        print(f'plan: {entry.slug} on {mesh}', flush=True)
    write({**read(), entry.slug: made})
    return True


def figures(entry: registry.Entry, mesh: str, devices: int) -> dict:
    """The plan of a paper preset as numbers."""
    plan = planner.plan(entry, mesh=mesh, devices=devices)
    return {
        'mesh': plan.mesh,
        'state': plan.state,
        'batch': plan.batch,
        'temporaries': plan.temporaries,
        'flops': plan.flops,
        'sent': sum(size for _, size in plan.collectives.values()),
        'seconds': round(plan.lowering + plan.compiling, 1),
    }


def fitting_mesh(entry: registry.Entry, devices: int) -> str:
    """'data:8'; or, where the paper's batch has too few rows, what is left as a tensor axis."""
    module = registry.load(entry)
    rows = [x.shape[0] for x in jax.tree.leaves(module.inputs(module.PAPER)) if x.shape]
    parts = math.gcd(devices, *rows)
    return f'data:{parts}' if parts == devices else f'data:{parts},tensor:{devices // parts}'


def read() -> dict:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def write(rows: dict):
    partial = FILE.with_suffix('.partial')
    partial.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + '\n')
    os.replace(partial, FILE)


def table(rows: dict) -> str:
    """A line per paper preset and number of devices; memory and messages are of one device."""
    lines = ['| paper preset | mesh | state | memory | FLOPs a step | received a step |']
    lines += ['|---|---|---|---|---|---|']
    for slug, made in sorted(rows.items()):
        for plan in made.values():
            memory = plan['state'] + plan['batch'] + plan['temporaries']
            sizes = (planner.size(n) for n in (plan['state'], memory, plan['sent']))
            state, memory, sent = sizes
            cells = (slug, plan['mesh'], state, memory, f'{plan["flops"]:.3g}', sent)
            lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)
