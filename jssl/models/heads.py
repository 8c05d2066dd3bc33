"""Heads: what sits between a backbone's features and a loss."""

import dataclasses
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.mlp import MLP
from jssl.models.norms import norm


class ProjectionHead(nn.Module):
    """Maps representations h to projections z, the layer that contrastive losses see.

    h_l = relu(norm(W_l h_{l-1})); z = W h, without rectifier, and without scale and offset where
    `final_norm` normalises it (SimSiam, MoCo v3)

    Widths in the papers: (2048, 128) SimCLR, (2048, 2048, 128) SimCLR v2, (4096, 256) BYOL,
    (8192, 8192, 8192) Barlow Twins and VICReg.

    A Simple Framework for Contrastive Learning of Visual Representations (Chen et al., 2020).
    """

    widths: Sequence[int]
    _: dataclasses.KW_ONLY
    norm: str | None = 'batch'
    final_norm: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, h: jax.Array, *, layers: bool = False, train: bool = False
    ) -> jax.Array | list[jax.Array]:
        """Maps h [B, F] to z [B, widths[-1]].

        With `layers`, returns [h, output of layer 1 after its rectifier, ..., z]: SimCLR v2
        fine-tunes from the middle of the head.
        """
        chex.assert_rank(h, 2)
        outputs = [h]
        last = len(self.widths) - 1
        for i, width in enumerate(self.widths):
            normed = self.norm is not None and (i < last or self.final_norm)
            dense = nn.Dense(width, use_bias=not normed, dtype=self.dtype, name=f'dense{i}')
            x = dense(outputs[-1])
            if normed:
                affine = i < last
                x = norm(self.norm, train, affine=affine, dtype=self.dtype, name=f'norm{i}')(x)
            outputs.append(nn.relu(x) if i < last else x)
        return outputs if layers else outputs[-1]


class PredictionHead(nn.Module):
    """Predicts the other view's projection: p = W_2 relu(norm(W_1 z)) + b.

    (4096, 256) in BYOL, (512, 2048) in SimSiam.

    Bootstrap Your Own Latent (Grill et al., 2020).
    """

    hidden: int
    out: int
    _: dataclasses.KW_ONLY
    norm: str | None = 'batch'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps z [B, D] to p [B, out]."""
        widths = (self.hidden, self.out)
        head = ProjectionHead(widths, norm=self.norm, dtype=self.dtype, name='mlp')
        return head(z, train=train)


class Prototypes(nn.Module):
    """Cosine scores of projections against learned prototypes.

    s_k = (z / |z|) . (c_k / |c_k|); prototypes are normalised in the forward pass, so an optimiser
    step can never leave them unnormalised.

    SwAV: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (Caron et al.,
    2020).
    """

    count: int
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps z [B, D] to scores [B, K] in [-1, 1]; a zero row scores 0 everywhere."""
        chex.assert_rank(z, 2)
        shape = (z.shape[-1], self.count)
        kernel = self.param('prototypes', nn.initializers.normal(1.0), shape, jnp.float32)
        return _unit(z).astype(self.dtype) @ _unit(kernel, axis=0).astype(self.dtype)


class DINOHead(nn.Module):
    """Perceptron to a narrow bottleneck, then cosine scores against unit-norm prototypes.

    The last layer is weight-normalised with its gain fixed at one, DINO's default.

    Emerging Properties in Self-Supervised Vision Transformers (Caron et al., 2021).
    """

    count: int = 65536
    _: dataclasses.KW_ONLY
    hidden: int = 2048
    bottleneck: int = 256
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, h: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps h [B, F] to scores [B, count] in [-1, 1]."""
        chex.assert_rank(h, 2)
        z = MLP((self.hidden, self.hidden, self.bottleneck), dtype=self.dtype, name='mlp')(h)
        return Prototypes(self.count, dtype=self.dtype, name='last')(z)


class Classifier(nn.Module):
    """Linear classifier: logits = h W + b, with W = 0 at the start where `zero` says so.

    Big Transfer: General Visual Representation Learning (Kolesnikov et al., 2020), for the zeros.
    """

    classes: int
    _: dataclasses.KW_ONLY
    zero: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, h: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps h [..., F] to logits [..., classes]."""
        init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
        return nn.Dense(self.classes, kernel_init=init, dtype=self.dtype, name='dense')(h)


def _unit(x: jax.Array, *, axis: int = -1, epsilon: float = 1e-6) -> jax.Array:
    """x / max(|x|, epsilon) in float32, without overflow and with a finite gradient at zero."""
    x = x.astype(jnp.float32)
    # the result does not depend on the scale, so no gradient is lost by holding it constant
    largest = jax.lax.stop_gradient(jnp.maximum(jnp.abs(x).max(axis, keepdims=True), epsilon))
    x = x / largest
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(axis, keepdims=True), 1.0))
