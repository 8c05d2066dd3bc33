"""The chooser gives the very networks that its names stand for."""

import pytest

from jssl import models


def test_a_name_and_its_network():
    found = models.backbone('conv', (4, 8), norm='group', name='encoder')
    assert found == models.ConvNet((4, 8), name='encoder')
    found = models.backbone('resnet18', (8,), norm='group', stem='cifar')
    assert found == models.resnet18(width=8, norm='group', stem='cifar')
    assert models.backbone('resnet50', (64,)) == models.resnet50()
    with pytest.raises(ValueError, match='resnet101'):
        models.backbone('vgg', (64,))
