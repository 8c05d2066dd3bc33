"""The same images through timm's or torchvision's network and ours, with its random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import zoo

REASON = 'parity needs the peer itself: pip install torch timm safetensors'
torch = pytest.importorskip('torch', reason=REASON)
timm = pytest.importorskip('timm', reason=REASON)
safetensors = pytest.importorskip('safetensors.torch', reason=REASON)

# name: (timm's options, side of the images)
PEERS = {
    'vit_tiny_patch16_224': ({'img_size': 64}, 64),
    'vit_small_patch8_224': ({'img_size': 32}, 32),
    'vit_base_patch16_224': ({'img_size': 32}, 32),
    'vit_small_patch14_dinov2': ({'img_size': 56}, 56),
    'vit_small_patch14_reg4_dinov2': ({'img_size': 56}, 56),
    'vit_base_patch32_clip_224': ({'img_size': 64}, 64),
    'vit_base_patch32_clip_quickgelu_224': ({'img_size': 64}, 64),
    'resnet18': ({}, 64),
    'resnet50': ({}, 64),
}


def peer(name, **options):
    """timm's network, every array of it drawn so that none is zero or one."""
    torch.manual_seed(0)
    return drawn(timm.create_model(name, num_classes=0, **options).eval())


def drawn(network):
    state = network.state_dict()
    for key, x in state.items():
        if x.is_floating_point():
            noise = 0.2 * torch.randn_like(x)
            state[key] = (
                noise.abs() + 0.5 if key.endswith('var') else x + noise / x[0].numel() ** 0.5
            )
    network.load_state_dict(state)
    return network


def forward(network, images):
    with torch.no_grad():
        return network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


@pytest.mark.parametrize('name', PEERS)
def test_ours_gives_what_timm_gives(name, tmp_path):
    options, side = PEERS[name]
    network = peer(name, **options)
    images = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype('f')
    want = forward(network, images)
    safetensors.save_file(network.state_dict(), tmp_path / 'peer.safetensors')
    module, variables = zoo.load(name, tmp_path / 'peer.safetensors')
    h = np.asarray(jax.jit(module.apply)(variables, images))
    assert want.std() > 0.01
    np.testing.assert_allclose(h, want, rtol=0, atol=1e-4)

    zoo.save(name, variables, tmp_path / 'ours.safetensors')
    again = timm.create_model(name, num_classes=0, **options).eval()
    again.load_state_dict(safetensors.load_file(tmp_path / 'ours.safetensors'))
    np.testing.assert_allclose(forward(again, images), want, rtol=0, atol=1e-4)


def test_positions_of_another_size_are_timms(tmp_path):
    name = 'vit_tiny_patch16_224'
    network = peer(name, img_size=96, dynamic_img_size=True)
    safetensors.save_file(network.state_dict(), tmp_path / 'peer.safetensors')
    module, variables = zoo.load(name, tmp_path / 'peer.safetensors')
    for shape in ((64, 48), (128, 160)):
        images = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype('f')
        h = np.asarray(jax.jit(module.apply)(variables, jnp.asarray(images)))
        np.testing.assert_allclose(h, forward(network, images), rtol=0, atol=1e-4)


@pytest.mark.parametrize('name', ['resnet18', 'resnet50'])
def test_ours_gives_what_torchvision_gives(name, tmp_path):
    torchvision = pytest.importorskip('torchvision', reason=REASON)
    torch.manual_seed(0)
    network = drawn(getattr(torchvision.models, name)().eval())
    safetensors.save_file(network.state_dict(), tmp_path / 'peer.safetensors')
    module, variables = zoo.load(name, tmp_path / 'peer.safetensors')
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype('f')
    network.fc = torch.nn.Identity()
    h, want = jax.jit(module.apply)(variables, images), forward(network, images)
    scale = want.std()  # its branches are not silent at first: features are large
    np.testing.assert_allclose(h / scale, want / scale, rtol=0, atol=1e-4)

    zoo.save(name, variables, tmp_path / 'ours.safetensors')
    again = getattr(torchvision.models, name)()
    found = safetensors.load_file(tmp_path / 'ours.safetensors')
    missing, unknown = again.load_state_dict(found, strict=False)
    assert (missing, unknown) == (['fc.weight', 'fc.bias'], [])
