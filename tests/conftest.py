"""Eight simulated devices for every test, set before jax is imported."""

import os

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
