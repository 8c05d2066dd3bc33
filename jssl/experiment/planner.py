"""Plans a run: lowers and compiles its step for a simulated pod, and reads off what it will
cost."""

import math
import re
import time
from typing import NamedTuple

import jax

from jssl import data
from jssl.errors import Refusal
from jssl.experiment import config as configs
from jssl.experiment import registry
from jssl.experiment.report import grid
from jssl.train import sharding
from jssl.train.fit import compiled_step

COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')
BYTES = {'pred': 1, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 'bf16': 2, 'f16': 2, 's64': 8, 'f64': 8}


class Plan(NamedTuple):
    """What compiling told, per device where not said otherwise."""

    experiment: str
    mesh: str
    parameters: int  # elements of the whole state
    state: int  # bytes
    batch: int
    temporaries: int
    flops: float
    collectives: dict[str, tuple[int, int]]  # kind -> (how many, bytes)
    missing: str | None
    lowering: float  # seconds
    compiling: float

    def __str__(self):
        rows = [
            ['state, all devices', f'{self.parameters:,} numbers'],
            ['state', size(self.state)],
            ['batch', size(self.batch)],
            ['temporaries', size(self.temporaries)],
            ['memory in all', size(self.state + self.batch + self.temporaries)],
            ['FLOPs a step', f'{self.flops:.3g}'],
            *([f'{kind} x {n}', size(b)] for kind, (n, b) in self.collectives.items()),
            ['lowering', f'{self.lowering:.1f} s'],
            ['compiling', f'{self.compiling:.1f} s'],
            ['data', self.missing or 'on disk'],
        ]
        return f'{self.experiment} on {self.mesh}\n' + grid(['per device', ''], rows)


def plan(
    entry: registry.Entry, changes=None, *, mesh: str = 'data:8', devices=None, preset='paper'
) -> Plan:
    """Compiles `build(config)` of a preset for `mesh`, on as many simulated devices as it names.

    `changes` are fields of the config as text, as in `configs.override`.
    """
    sizes = re.findall(r':(-?\d+)', mesh)
    count = int(devices) if devices else math.prod(int(s) for s in sizes)
    if count < 1:
        raise Refusal(f'--mesh={mesh} leaves the number of devices open; add --devices=256')
    jax.config.update('jax_num_cpu_devices', count)
    jax.config.update('jax_platforms', 'cpu')
    module = registry.load(entry)
    if not hasattr(module, 'build'):
        raise Refusal(f'{entry.slug} trains no network: it has no build(config) to plan')
    config = configs.override(configs.preset(module, preset), changes or {})
    return compile_step(
        module.build(config),
        module.inputs(config),
        sharding.make_mesh(mesh, jax.devices()[:count]),
        name=f'{entry.slug} ({preset})',
        missing=data.missing(config.data) if hasattr(config, 'data') else None,
    )


def compile_step(built, batch, mesh, *, name='', missing=None) -> Plan:
    """The plan of one `(init, step)` for batches of these shapes."""
    init, step = built
    started = time.monotonic()
    rows = sharding.batch_sharding(mesh)
    parts = sharding.batch_devices(mesh)

    def split(path, b):
        sharding.check_rows(path, b.shape, parts, mesh)
        return jax.ShapeDtypeStruct(b.shape, b.dtype, sharding=rows)

    batch = jax.tree_util.tree_map_with_path(split, batch)
    carry, advance = compiled_step(init, step, mesh)
    with jax.set_mesh(mesh):
        lowered = advance.lower(carry, batch)
    lowering = time.monotonic() - started
    started = time.monotonic()
    compiled = lowered.compile()
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    return Plan(
        experiment=name,
        mesh=sharding.mesh_text(mesh),
        parameters=sum(math.prod(x.shape) for x in jax.tree.leaves(carry)),
        state=sum(shard_bytes(x) for x in jax.tree.leaves(carry)),
        batch=sum(nbytes(x) for x in jax.tree.leaves(batch)) // parts,
        temporaries=memory.temp_size_in_bytes,
        flops=cost.get('flops', math.nan),
        collectives=collectives(compiled.as_text()),
        missing=missing,
        lowering=lowering,
        compiling=time.monotonic() - started,
    )


def collectives(hlo: str) -> dict[str, tuple[int, int]]:
    """How many of each kind a compiled program has, and the bytes they give to one device."""
    found = {}
    for kind in COLLECTIVES:
        sites = re.findall(rf'= (\([^)]*\)|\S+) {kind}(?:-start)?\(', hlo)
        if sites:
            found[kind] = (len(sites), sum(shape_bytes(s) for s in sites))
    return found


def shape_bytes(text: str) -> int:
    """Bytes of an HLO shape such as 'f32[8,128]{1,0}', or of a tuple of them."""
    total = 0
    for kind, dimensions in re.findall(r'([a-z]+\d*)\[([\d,]*)\]', text):
        total += BYTES.get(kind, 4) * math.prod(int(d) for d in dimensions.split(',') if d)
    return total


def nbytes(x) -> int:
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return 8 * math.prod(x.shape)
    return x.dtype.itemsize * math.prod(x.shape)


def shard_bytes(x) -> int:
    """Bytes of the part of a sharded array that one device holds."""
    itemsize = nbytes(x) // max(1, math.prod(x.shape))
    return itemsize * math.prod(x.sharding.shard_shape(x.shape))


def size(n: float) -> str:
    """'1.50 GiB'."""
    for unit in ('B', 'KiB', 'MiB'):
        if n < 1024:
            return f'{n:.3g} {unit}'
        n /= 1024
    return f'{n:.2f} GiB'
