"""Eight simulated devices for every test, set before jax is imported; who runs what, and when."""

import gc
import os
import pathlib

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
flags = os.environ.get('XLA_FLAGS', '')
if 'xla_force_host_platform_device_count' not in flags:
    os.environ['XLA_FLAGS'] = f'{flags} --xla_force_host_platform_device_count=8'.strip()

import jax  # noqa: E402
import pytest  # noqa: E402

from jssl.train import runtime  # noqa: E402

runtime.keep_heap()
jax.config.update('jax_compilation_cache_dir', str(runtime.cache_folder() / 'compiled-by-tests'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)

MAPS = pathlib.Path('/proc/self/maps')
MOST_MAPS = 40_000  # Linux ends a process that asks for more than 65,530


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A worker takes a file at a time; of the experiments, which take longest, one experiment."""
    for item in items:
        entry = item.callspec.params.get('entry') if hasattr(item, 'callspec') else None
        item.add_marker(pytest.mark.xdist_group(f'{item.path}-{entry and entry.slug}'))
    items.sort(key=lambda item: 'experiments' not in item.path.parts)


def pytest_runtest_teardown():
    """Every compiled program holds a dozen of the process's memory maps until it is forgotten."""
    if MAPS.exists() and MAPS.read_bytes().count(b'\n') > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope='session')
def devices():
    found = jax.devices()
    if len(found) < 8:
        pytest.skip('needs 8 simulated devices: XLA_FLAGS names fewer')
    return found[:8]


@pytest.fixture(params=['data:8', 'data:2,fsdp:4', 'data:4,tensor:2'])
def mesh(request, devices):
    from jssl.train import make_mesh

    return make_mesh(request.param, devices)
