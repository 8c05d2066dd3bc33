"""Checkpoints that cannot be silently wrong: Orbax for the arrays, a digest per leaf beside
them."""

import json
import os
import pathlib
import shutil
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.tree_util import tree_leaves_with_path
from orbax.checkpoint import checkpoint_managers as policies

from jssl.errors import Refusal
from jssl.train.sharding import path_name


class Checkpoint(NamedTuple):
    """Where and how often to save.

    Args:
      directory: folder of this fit alone.
      every: steps between saves; None leaves it to `seconds`.
      seconds: time between saves; None leaves it to `every`.
      keep: the newest that stay.
      best: a metric, '-loss' for smaller is better: the best one by it stays as well.
    """

    directory: str | os.PathLike
    every: int | None = None
    seconds: float | None = 300.0
    keep: int = 2
    best: str | None = None


class Checkpoints:
    """The saved steps of one fit."""

    def __init__(self, options: Checkpoint, config: Any = None, log=print):
        self.directory = pathlib.Path(options.directory).absolute()
        self.config = json.loads(json.dumps(config, default=str))
        self.log = log
        self._sweep()
        keep = [policies.LatestN(n=options.keep)]
        if options.best:
            sign, name = (-1, options.best[1:]) if options.best[0] == '-' else (1, options.best)
            keep.append(policies.BestN(get_metric_fn=lambda m: sign * m[name], reverse=False, n=1))
        self._manager = ocp.CheckpointManager(
            self.directory / 'steps',
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(policies=keep),
                enable_async_checkpointing=True,
            ),
        )

    def save(self, step: int, tree, history: dict, metrics: dict) -> bool:
        """Starts saving; a full disk or a lost folder costs this save, not the run."""
        # A copy: the loop goes on filling the history while the save is written.
        history = {name: list(column) for name, column in history.items()}
        meta = {'step': step, 'config': self.config, 'history': history}
        try:
            self._digests(step, tree, meta)
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta)
                ),
                metrics=metrics,
                force=True,
            )
        except (OSError, ValueError) as error:
            self.log(f'could not save step {step} in {self.directory}: {_first_line(error)}')
            return False
        return True

    def wait(self):
        """Blocks until the last save is on disk; raises a Refusal if it never got there."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise Refusal(
                f'the last checkpoint did not reach {self.directory} ({_first_line(error)});'
                ' free some space and run again: it resumes from the newest whole step'
            ) from error

    def latest(self) -> int | None:
        return self._manager.latest_step()

    def close(self):
        self._manager.close()

    def restore(self, abstract) -> tuple[Any, dict] | None:
        """The newest undamaged (tree, history), or None if nothing was ever saved.

        Args:
          abstract: ShapeDtypeStructs with shardings, so that a run may continue on another mesh.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                meta, expected = self._read_meta(step)
                self._same_config(meta)
                self._same_leaves(expected, abstract)
                return self._read_state(step, abstract, expected), meta['history']
            except _Damaged as damage:
                self.log(
                    f'checkpoint {step} in {self.directory} is damaged ({damage});'
                    ' trying the one before'
                )
                self._set_aside(step)
        if steps:
            raise Refusal(
                f'every checkpoint in {self.directory} is damaged; they were set aside under'
                ' damaged/: remove the folder or name another --workdir to start again'
            )
        return None

    def _read_meta(self, step):
        try:
            args = ocp.args.Composite(meta=ocp.args.JsonRestore())
            meta = self._manager.restore(step, args=args).meta
            expected = json.loads(self._digest_file(step).read_text())
        except Exception as error:  # damaged bytes make Orbax raise anything, bare Exception too
            raise _Damaged(_first_line(error)) from error
        if expected.pop('meta', None) != zlib.crc32(_canonical(meta)):
            raise _Damaged('meta')
        return meta, expected

    def _read_state(self, step, abstract, expected):
        try:
            args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            state = self._manager.restore(step, args=args).state
        except Exception as error:
            raise _Damaged(_first_line(error)) from error
        for name, (found, _) in digests(state).items():
            if None not in (found, expected[name][0]) and found != expected[name][0]:
                raise _Damaged(f'leaf {name}')
        return state

    def _same_leaves(self, expected, abstract):
        """A state of another program is no damage: it is refused, and left where it is."""
        shapes = {path_name(p): list(x.shape) for p, x in tree_leaves_with_path(abstract)}
        saved = {name: shape for name, (_, shape) in expected.items()}
        for name in sorted({*shapes, *saved}):
            if shapes.get(name) != saved.get(name):
                raise Refusal(
                    f'{self.directory} holds {name} with shape {saved.get(name)}, this run has'
                    f' {shapes.get(name)}: the code has changed; give another --workdir'
                )

    def _same_config(self, meta):
        saved, now = meta['config'] or {}, self.config or {}
        for field in sorted({*saved, *now}):
            if saved.get(field) != now.get(field):
                raise Refusal(
                    f'{self.directory} was made with {field}={saved.get(field)!r}, this run has'
                    f' {now.get(field)!r}; give the same flag or another --workdir'
                )

    def _digests(self, step, tree, meta):
        """Written before the step is committed, so that every listed step has its digests."""
        content = {**digests(tree), 'meta': zlib.crc32(_canonical(meta))}
        file = self._digest_file(step)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix('.partial')
        partial.write_text(json.dumps(content))
        partial.replace(file)

    def _digest_file(self, step):
        return self.directory / 'digests' / f'{step}.{jax.process_index()}.json'

    def _set_aside(self, step):
        target = self.directory / 'damaged'
        target.mkdir(exist_ok=True)
        self._manager.wait_until_finished()
        os.replace(self.directory / 'steps' / str(step), target / f'{step}.{os.getpid()}')
        self._manager.reload()

    def _sweep(self):
        """Removes what a killed save left behind: it holds space and can never be restored."""
        for leftover in (self.directory / 'steps').glob('*orbax-checkpoint-tmp*'):
            shutil.rmtree(leftover, ignore_errors=True)


def digests(tree) -> dict[str, list]:
    """[crc32, shape] of every leaf by path; crc32 runs at 7 GiB/s.

    The crc32 of a leaf that is spread over several processes is None: no process sees all of it.
    """
    return {
        path_name(path): [_crc32(leaf), list(leaf.shape)]
        for path, leaf in tree_leaves_with_path(tree)
    }


def _crc32(leaf) -> int | None:
    whole = not isinstance(leaf, jax.Array) or leaf.is_fully_addressable
    if not whole and not leaf.is_fully_replicated:
        return None
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.ascontiguousarray(leaf)
    return zlib.crc32(array.view(np.uint8).data if array.size else b'')


class _Damaged(Exception):
    """What is wrong with a checkpoint, in a few words."""


def _canonical(meta) -> bytes:
    return json.dumps(meta, sort_keys=True).encode()


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'.splitlines()[0][:200]
