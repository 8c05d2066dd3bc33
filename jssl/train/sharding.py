"""Where arrays live: meshes by a short text, and rules by parameter path."""

import math
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jssl.errors import Refusal

AXES = ('data', 'fsdp', 'tensor')

# Megatron's split of a transformer: the first product of a pair by columns, the second by rows, so
# that one all-reduce per pair suffices. Dimension 1 (0) is the output (input) of [D, F] and
# of [D, H, F].
TENSOR_RULES = (
    (r'(^|/)(query|key|value|qkv|up|gate)/kernel$', 1),
    (r'(^|/)(query|key|value|qkv|up|gate)/bias$', 0),
    (r'(^|/)(out|down)/kernel$', 0),
)
# Below this many elements an all-gather costs more than the memory it saves.
FSDP_MINIMUM = 4096


def parse_mesh(text: str, devices: int) -> dict[str, int]:
    """'data:4,fsdp:2' as {'data': 4, 'fsdp': 2}; one size may be -1, the devices that are left."""
    sizes = {}
    for part in text.split(','):
        name, _, size = part.strip().partition(':')
        if name not in AXES or not re.fullmatch(r'-1|[1-9]\d*', size) or name in sizes:
            raise Refusal(
                f'--mesh={text}: {part!r} is not AXIS:SIZE with an axis of {", ".join(AXES)},'
                ' each once; write for instance data:4,fsdp:2 or data:-1'
            )
        sizes[name] = int(size)
    free = [name for name, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size > 0)
    if len(free) > 1 or devices % fixed or (not free and fixed != devices):
        raise Refusal(
            f'--mesh={text} does not fit {devices} devices; make the sizes multiply to {devices}'
            ' (one may be -1) or change the number of devices with --devices'
        )
    return {name: devices // fixed if size == -1 else size for name, size in sizes.items()}


def make_mesh(text: str = 'data:-1', devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with Auto axes: under jit, every array keeps its global meaning on any number of
    devices."""
    devices = jax.devices() if devices is None else devices
    sizes = parse_mesh(text, len(devices))
    return jax.make_mesh(
        tuple(sizes.values()),
        tuple(sizes),
        axis_types=(AxisType.Auto,) * len(sizes),
        devices=devices,
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over every axis that splits the batch (fsdp shards parameters and batch alike)."""
    return NamedSharding(mesh, P(tuple(axis for axis in mesh.axis_names if axis != 'tensor')))


def batch_devices(mesh: Mesh) -> int:
    """Into how many parts `batch_sharding` cuts the rows."""
    return math.prod(size for axis, size in mesh.shape.items() if axis != 'tensor')


def place(batch, mesh: Mesh):
    """This process's rows of a batch as one global array; scalars are copied to every device."""
    rows, everywhere = batch_sharding(mesh), NamedSharding(mesh, P())
    parts = batch_devices(mesh) // jax.process_count() or 1

    def put(path, x):
        x = x if isinstance(x, jax.Array) else np.asarray(x)
        sharding = rows if x.ndim else everywhere
        check_rows(path, x.shape, parts, mesh)
        if isinstance(x, jax.Array) and x.sharding.is_equivalent_to(sharding, x.ndim):
            return x
        if jax.process_count() == 1:
            return jax.device_put(x, sharding)
        return jax.make_array_from_process_local_data(sharding, x)

    return jax.tree_util.tree_map_with_path(put, batch)


def check_rows(path, shape: Sequence[int], parts: int, mesh: Mesh):
    """Refuses an array of a batch whose rows cannot be cut into equal parts."""
    if shape and shape[0] % parts:
        raise Refusal(
            f'batch{jax.tree_util.keystr(path)} has {shape[0]} rows, which do not divide'
            f' over the {parts} data devices of mesh {mesh_text(mesh)};'
            ' change --config.batch or --mesh'
        )


def state_shardings(mesh: Mesh, shapes, rules: Sequence[tuple[str, int]] = TENSOR_RULES):
    """A sharding for each leaf of a state, chosen by its path and shape.

    Args:
      mesh: axes 'tensor' and 'fsdp' shard the state; 'data' replicates it.
      shapes: pytree of arrays or ShapeDtypeStructs, as `jax.eval_shape(init, key)` gives.
      rules: (pattern of the path, dimension to split over 'tensor'); the first match decides.
      Optimiser
        moments and averages carry the parameter's path, and so follow it.
    """

    def choose(path, leaf):
        spec = [None] * leaf.ndim
        name = path_name(path)
        if 'tensor' in mesh.shape:
            for pattern, dimension in rules:
                if re.search(pattern, name) and dimension < leaf.ndim:
                    if leaf.shape[dimension] % mesh.shape['tensor'] == 0:
                        spec[dimension] = 'tensor'
                    break
        if 'fsdp' in mesh.shape and leaf.size >= FSDP_MINIMUM:
            size = mesh.shape['fsdp']
            open_ = [d for d in range(leaf.ndim) if spec[d] is None and leaf.shape[d] % size == 0]
            if open_:
                spec[max(open_, key=lambda d: leaf.shape[d])] = 'fsdp'
        return NamedSharding(mesh, P(*spec))

    return jax.tree_util.tree_map_with_path(choose, shapes)


def path_name(path) -> str:
    """A tree path as 'params/encoder/kernel'."""
    return '/'.join(str(getattr(k, 'key', getattr(k, 'name', getattr(k, 'idx', k)))) for k in path)


def mesh_text(mesh: Mesh) -> str:
    """The text that `make_mesh` reads."""
    return ','.join(f'{axis}:{size}' for axis, size in mesh.shape.items())
