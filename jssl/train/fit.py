"""The only training loop."""

import functools
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jssl.errors import Refusal
from jssl.train import sharding
from jssl.train.checkpoints import Checkpoint, Checkpoints
from jssl.train.progress import Progress


def fit(
    step: Callable,
    init: Any,
    batches: Any = None,
    *,
    steps: int,
    key: jax.Array | int = 0,
    mesh: Mesh | str | None = None,
    rules=sharding.TENSOR_RULES,
    checkpoint: Checkpoint | str | os.PathLike | None = None,
    config: Mapping | None = None,
    log: Callable[[str], None] | None = None,
    every: int | None = None,
    name: str = 'fit',
    progress: bool = True,
) -> tuple[Any, dict[str, np.ndarray]]:
    """Trains: `state = init(key)`, then `steps` times `state, metrics = step(state, batch, key)`.

    Args:
      step: pure; gets its own key, a function of `key` and the step's number alone.
      init: pure, key -> state (any pytree of arrays); or a state to go on from, which is copied.
      batches: a stream of `data.batches`; or any iterable of batches; or a dict of arrays, the
        whole data set, used at every step; or None for a step that needs no data.
      steps: how many in all, counting those of an earlier run that is resumed.
      key: a key or a seed.
      mesh: a Mesh or its text, 'data:4,fsdp:2'; None takes as many devices as divide the batch.
      rules: which parameters a 'tensor' axis splits (`sharding.TENSOR_RULES`).
      checkpoint: folder, or `Checkpoint` with intervals; a fit that finds its own steps there
        resumes, to the same bits as if it had never stopped.
      config: saved beside the state; a checkpoint made with another one is refused.
      log: takes each line of text; None prints.
      every: steps between rows of the history (and of progress); None keeps about 200 rows.
      name: shown in progress and errors.
      progress: False is silent.
    Returns: the last state, and the history {'step': [T], metric: [T], ...} as numpy arrays.
    Raises: Refusal naming metric and step when a metric is not finite.
    """
    every = every or max(1, steps // 200)
    log = log or print
    key = jax.random.key(key) if isinstance(key, int) else key
    store = _open(checkpoint, config, log)
    options = store and _checkpoint(checkpoint)
    stream = _Stream(batches)
    mesh = _mesh(mesh, stream.rows)
    abstract, advance = compiled_step(init, step, mesh, rules, key, stream.gather)
    restored = store.restore(abstract) if store else None
    if restored:
        carry, history = restored
        log(f'{name}: resumed at step {int(carry["step"])} of {steps}')
    else:
        shardings = jax.tree.map(lambda x: x.sharding, abstract)
        carry, history = _first(init, key, mesh, shardings), {}
    done = int(carry['step'])
    if done > steps:
        raise Refusal(
            f'{name} already has {done} steps in {store.directory}, more than {steps} asked'
        )
    loop = _Loop(name, steps, every, history, store, options, Progress(name, steps, log, progress))
    with loop, jax.set_mesh(mesh):
        for number, batch in zip(range(done, steps), stream.placed(mesh, done), strict=False):
            carry, metrics = advance(carry, batch)
            loop.after(number + 1, carry, metrics)
        loop.finish(carry)
    return carry['state'], loop.columns()


def compiled_step(init, step, mesh, rules=sharding.TENSOR_RULES, key=None, gather=None):
    """(shapes and shardings of the loop's carry, the jitted `carry, batch -> carry, metrics`).

    With `gather`, the batch is gather(*batch), in the same program.
    """
    key = jax.random.key(0) if key is None else key
    shapes = jax.eval_shape(_started(init) if callable(init) else _carry, *_given(init, key))
    shardings = sharding.state_shardings(mesh, shapes, rules)
    abstract = jax.tree.map(
        lambda s, d: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=d), shapes, shardings
    )
    return abstract, _advance(step, mesh, _Hashable(shardings), gather)


# Experiments call `fit` with the same init and step for several seeds: these caches compile them
# once.
@functools.lru_cache(maxsize=16)
def _started(init):
    """The loop's own carry: the user's state, the key of all steps, and the number of the next."""

    return lambda key: _carry(init(jax.random.split(key)[0]), key)


def _carry(state, key):
    return {'state': state, 'key': jax.random.split(key)[1], 'step': jnp.zeros((), jnp.int32)}


def _given(init, key):
    return (key,) if callable(init) else (init, key)


def _first(init, key, mesh, shardings):
    if callable(init):
        return _initial(_started(init), mesh, _Hashable(shardings))(key)
    # A copy: the first step donates the state, and the caller may start another fit from it.
    return jax.device_put(_carry(jax.tree.map(jnp.copy, init), key), shardings)


@functools.lru_cache(maxsize=16)
def _advance(step, mesh, shardings, gather):
    def advance(carry, batch):
        batch = gather(*batch) if gather else batch
        key = jax.random.fold_in(carry['key'], carry['step'])
        state, metrics = step(carry['state'], batch, key)
        for name, value in metrics.items():
            if jnp.shape(value):
                raise ValueError(f'metric {name!r} has shape {jnp.shape(value)}; return a scalar')
        return {'state': state, 'key': carry['key'], 'step': carry['step'] + 1}, metrics

    everywhere = NamedSharding(mesh, P())
    return jax.jit(advance, donate_argnums=0, out_shardings=(shardings.tree, everywhere))


@functools.lru_cache(maxsize=16)
def _initial(start, mesh, shardings):
    # Initial values are drawn once: on a CPU, optimising that program costs five times what it
    # saves (ResNet-18: 7.2 s against 1.6 s, the same values).
    quick = {'xla_backend_optimization_level': 0}
    options = quick if mesh.devices.flat[0].platform == 'cpu' else None
    return jax.jit(start, out_shardings=shardings.tree, compiler_options=options)


class _Hashable:
    """A pytree of shardings as a cache key."""

    def __init__(self, tree):
        self.tree = tree
        leaves, structure = jax.tree.flatten(tree)
        self._key = (tuple(leaves), structure)

    def __hash__(self):
        return hash(self._key)

    def __eq__(self, other):
        return self._key == other._key


class _Stream:
    """Batches from wherever they come, from any step on, placed on the mesh."""

    def __init__(self, batches):
        self.batches = batches
        self.rows = None
        self.gather = getattr(batches, 'gather', None)  # of a set that lies on the device
        if isinstance(batches, Mapping):
            self.rows = _rows(batches)
        elif hasattr(batches, 'batch'):
            self.rows = batches.batch
        elif batches is not None:
            if not isinstance(batches, Iterable):
                raise Refusal(
                    f'batches is a {type(batches).__name__}; give a stream, an iterable, a dict'
                )
            if iter(batches) is batches:  # an iterator: its first batch must not be lost
                first = next(batches)
                self.batches = itertools.chain([first], batches)
            else:
                first = next(iter(batches))
            self.rows = _rows(first)

    def placed(self, mesh, start):
        if self.batches is None:
            return itertools.repeat(())
        if isinstance(self.batches, Mapping):
            return itertools.repeat(sharding.place(dict(self.batches), mesh))
        position = {'process': jax.process_index(), 'processes': jax.process_count()}
        if self.gather:
            columns, rows = self.batches.held(mesh), self.batches.rows(start, **position)
            return ((columns, sharding.place(numbers, mesh)) for numbers in rows)
        if hasattr(self.batches, 'iterate'):
            source = self.batches.iterate(start, **position)
        else:
            source = itertools.islice(iter(self.batches), start, None)
        return (sharding.place(batch, mesh) for batch in source)


def _rows(batch) -> int | None:
    sizes = {len(x) for x in jax.tree.leaves(batch) if np.ndim(x)}
    if len(sizes) > 1:
        raise Refusal(f'the arrays of a batch have different numbers of rows: {sorted(sizes)}')
    return sizes.pop() if sizes else None


def _mesh(mesh, rows) -> Mesh:
    if isinstance(mesh, str):
        return sharding.make_mesh(mesh)
    if mesh is not None:
        return mesh
    devices = jax.devices()
    count = len(devices)
    while rows is None or rows % count:
        if count == 1 or rows is None:
            count = 1
            break
        count -= 1
    return sharding.make_mesh('data:-1', devices[:count])


def _checkpoint(checkpoint) -> Checkpoint:
    return checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)


def _open(checkpoint, config, log) -> Checkpoints | None:
    return None if checkpoint is None else Checkpoints(_checkpoint(checkpoint), config, log)


class _Loop:
    """What happens around the steps: metrics, NaN stops, saves, signals."""

    LAG = 8  # steps the host may run ahead of the device before it waits

    def __init__(self, name, steps, every, history, store, options, progress):
        self.name, self.steps, self.every = name, steps, every
        self.history = {k: list(v) for k, v in history.items()}
        self.store, self.options, self.progress = store, options, progress
        self.pending, self._last = [], {}
        self.saved_at = time.monotonic()
        self.asked_to_stop = False

    def __enter__(self):
        self._old_handler = None
        if (
            self.store and _main_thread()
        ):  # a preempted machine sends SIGTERM and some seconds of grace
            self._old_handler = signal.signal(signal.SIGTERM, self._stop)
        return self

    def __exit__(self, *_):
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)
        self.progress.close()
        if self.store:
            self.store.close()

    def _stop(self, *_):
        self.asked_to_stop = True

    def after(self, number, carry, metrics):
        self.pending.append((number, metrics))
        if len(self.pending) > 2 * self.LAG:
            self._read(self.LAG)
        if self.store and number < self.steps and self._save_is_due(number):
            self._save(number, carry)
        if self.asked_to_stop:
            self._save(number, carry)
            self.store.wait()
            raise SystemExit(128 + signal.SIGTERM)

    def finish(self, carry):
        self._read(0)
        number = int(carry['step'])
        if number < self.steps:
            raise Refusal(f'{self.name}: the batches ended after {number} of {self.steps} steps')
        if self.store:
            if self.store.latest() != number:
                self._save(number, carry)
            self.store.wait()

    def _save_is_due(self, number):
        every, seconds = self.options.every, self.options.seconds
        if every and number % every == 0:
            return True
        # Every process must save the same step: only the first one's clock counts, so with several
        # processes time is not consulted, and `every` decides.
        alone = jax.process_count() == 1
        return bool(seconds and alone and time.monotonic() - self.saved_at >= seconds)

    def _save(self, number, carry):
        self._read(0)  # nothing that is not finite is ever saved
        self.store.save(number, carry, self.history, self._last)
        self.saved_at = time.monotonic()

    def _read(self, leave):
        """Fetches the oldest pending metrics; the device is already past them, so nothing waits."""
        cut = max(0, len(self.pending) - leave)
        ready, self.pending = self.pending[:cut], self.pending[cut:]
        for number, metrics in jax.device_get(ready):
            values = {k: float(v) for k, v in metrics.items()}
            for metric, value in values.items():
                if not np.isfinite(value):
                    raise Refusal(self._not_finite(metric, value, number))
            self._last = values
            if number % self.every == 0 or number == self.steps:
                for column, value in {'step': number, **values}.items():
                    self.history.setdefault(column, []).append(value)
            self.progress.update(number, values)

    def _not_finite(self, metric, value, number):
        kept = f'; the newest checkpoint is in {self.store.directory}' if self.store else ''
        return f'{self.name}: {metric} is {value} at step {number} of {self.steps}{kept}'

    def columns(self):
        return {k: np.asarray(v) for k, v in self.history.items()}


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
