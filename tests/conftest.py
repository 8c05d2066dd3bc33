"""Eight simulated devices for every test, set before jax is imported; who runs what, and when."""

import gc
import itertools
import os
import pathlib

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
flags = os.environ.get('XLA_FLAGS', '')
# Without its fusion emitters XLA:CPU compiles small programs in a third of the time.
for flag in ('--xla_force_host_platform_device_count=8', '--xla_cpu_use_fusion_emitters=false'):
    if flag.split('=')[0] not in flags:
        flags = f'{flags} {flag}'
os.environ['XLA_FLAGS'] = flags.strip()
os.environ.setdefault('PJRT_NPROC', '24')  # see `runtime.configure`

import jax  # noqa: E402
import pytest  # noqa: E402

from jssl.train import runtime  # noqa: E402

runtime.keep_heap()
jax.config.update('jax_compilation_cache_dir', str(runtime.cache_folder() / 'compiled-by-tests'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)

MAPS = pathlib.Path('/proc/self/maps')
MOST_MAPS = 40_000  # Linux ends a process that asks for more than 65,530
TEARDOWNS = itertools.count()
TABLES = {'experiments': 'entry', 'losses': 'case'}
QUICK = ('algorithms', 'experiments', 'losses', 'models', 'zoo')


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A worker takes a file at a time; of the two longest tables, a row."""
    for item in items:
        case = getattr(item, 'callspec', None)
        alone = case and TABLES.get(item.path.parent.name) in case.params
        group = f'{item.path.parent}-{case.id}' if alone else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))
    items.sort(key=lambda item: 'experiments' not in item.path.parts)


def pytest_runtest_teardown():
    """Every compiled program holds a dozen of the process's memory maps until it is forgotten."""
    if next(TEARDOWNS) % 25 == 0 and MAPS.exists() and MAPS.read_bytes().count(b'\n') > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True, scope='module')
def quick_compilation(request):
    """Skips the costly half of the code generator where programs run once: in the folders of
    QUICK, and in modules that say `QUICK = True`."""
    quick = request.path.parent.name in QUICK or getattr(request.module, 'QUICK', False)
    jax.config.update('jax_disable_most_optimizations', quick)


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
