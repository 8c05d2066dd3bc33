"""Sparse autoencoders: many directions, of which few make up each vector."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class SparseAutoencoder(nn.Module):
    """z = relu((x - c) E + b),  x^ = z U + c,  the rows of U of unit length.

    What makes z sparse, a penalty or a choice of entries, happens between `encode` and `decode`. At
    first E is the transpose of U. U is stored with any length and divided by it, so that no step of
    an optimiser can leave the sphere.

    Scaling and evaluating sparse autoencoders (Gao et al., 2024).
    """

    width: int  # of x
    features: int

    def setup(self):
        shape = (self.features, self.width)
        # of the encoder's size, so that both turn as quickly under one rate
        normal = nn.initializers.normal(self.width**-0.5)
        self.directions = self.param('directions', normal, shape)
        self.encoder = self.param('encoder', lambda key: _unit(self.directions).T)
        self.bias = self.param('bias', nn.initializers.zeros, (self.features,))
        self.center = self.param('center', nn.initializers.zeros, (self.width,))

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Reconstructs x [..., D] from all its positive features."""
        return self.decode(self.encode(x))

    def encode(self, x: jax.Array) -> jax.Array:
        """Features [..., F] of x [..., D], not negative, not yet sparse."""
        return nn.relu((x - self.center) @ self.encoder + self.bias)

    def decode(self, z: jax.Array) -> jax.Array:
        """x^ [..., D] of features [..., F]."""
        return self.combine(z) + self.center

    def combine(self, z: jax.Array) -> jax.Array:
        """z U [..., D], without the centre: what features add, or what they make of a rest."""
        return z @ _unit(self.directions)


def _unit(rows):
    return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
