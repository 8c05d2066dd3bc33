"""Process settings that were measured to be large and cheap, for before the first array."""

import ctypes
import os
import pathlib
import platform

import jax


def configure(
    *,
    heap: bool = True,
    devices: int | None = None,
    cache: str | None = '',
    distributed: bool = False,
    optimise: bool = True,
):
    """Sets up this process for training; every setting can be switched off on its own.

    Args:
      heap: keep freed memory in the process (Linux with glibc).
      devices: simulated CPU devices; None is one per core, 1 switches them off.
      cache: folder of compiled programs; '' is the user's cache folder, None switches it off.
      distributed: join the other processes of a cluster (addresses as `jax.distributed` finds
      them).
      optimise: False compiles in about half the time, for programs that run a few steps.
    """
    if heap:
        keep_heap()
    devices = devices or cores()
    jax.config.update('jax_num_cpu_devices', devices)
    # A batch of factorisations waits, in a thread of XLA:CPU's pool, for others of its threads:
    # with a thread for each device all may wait, for ever.
    os.environ.setdefault('PJRT_NPROC', str(cores() + 2 * devices))
    if cache is not None:
        folder = pathlib.Path(cache) if cache else cache_folder() / 'compiled'
        jax.config.update('jax_compilation_cache_dir', str(folder))
        # Even a small program costs more to compile than to read back: ResNet-18 1.7 s against
        # 0.12 s.
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
        jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
    if not optimise:
        # The smoke preset of SimCLR v2 from an empty cache: 151 s of one core, 86 s with this.
        jax.config.update('jax_disable_most_optimizations', True)
    if distributed:
        jax.distributed.initialize()


def keep_heap():
    """Stops glibc from handing memory back to the kernel after every step.

    XLA:CPU takes one large buffer per execution; returning it costs 192,000 page faults per step
    of a small ViT (0.53 s with them, 0.38 s without). Resident memory stays at its peak instead.
    """
    if platform.libc_ver()[0] != 'glibc':
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8  # names in malloc.h
    mallopt(arena_max, 1)
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 256 * 2**20)


def cores() -> int:
    """Cores this process may use: one simulated device on each was 1.05 to 1.4 times faster."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def cache_folder() -> pathlib.Path:
    """Where compiled programs and derived data may be kept between runs: $JSSL_CACHE or the
    user's."""
    base = os.environ.get('JSSL_CACHE')
    if base:
        return pathlib.Path(base)
    return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'jssl'
