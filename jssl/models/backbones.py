"""One chooser of encoders, for papers whose large preset has a ResNet and small one a ConvNet."""

from collections.abc import Sequence

import flax.linen as nn

from jssl.models.convnet import ConvNet
from jssl.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet152

RESNETS = {
    'resnet18': resnet18, 'resnet34': resnet34, 'resnet50': resnet50, 'resnet101': resnet101,
    'resnet152': resnet152,
}  # fmt: skip


def backbone(
    kind: str,
    widths: Sequence[int],
    *,
    norm: str = 'batch',
    stem: str = 'imagenet',
    name: str | None = None,
) -> nn.Module:
    """An encoder [B, H, W, C] -> [B, F] by its name.

    Args:
      kind: 'conv', or 'resnet18' and its like.
      widths: of every layer of 'conv'; a ResNet's first stage has the first of them.
      norm: of either.
      stem: of a ResNet.
      name: of the module in its parent.

    Deep Residual Learning for Image Recognition (He et al., 2016).
    """
    if kind == 'conv':
        return ConvNet(widths, norm=norm, name=name)
    if kind not in RESNETS:
        raise ValueError(f"kind must be 'conv' or one of {', '.join(RESNETS)}, got {kind!r}")
    return RESNETS[kind](width=widths[0], norm=norm, stem=stem, name=name)
