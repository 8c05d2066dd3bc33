"""Pure reshapes between images and patches: no strided or transposed convolution anywhere."""

import chex
import jax


def space_to_depth(x: jax.Array, factor: int) -> jax.Array:
    """Folds each factor x factor square of positions into channels.

    y[b, i, j, (u, v, c)] = x[b, i factor + u, j factor + v, c]

    Args:
      x: [B, H, W, C], H and W divisible by `factor`.
      factor: side of the square.

    Returns:
      [B, H / factor, W / factor, factor^2 C].

    Real-Time Single Image and Video Super-Resolution ... Sub-Pixel CNN (Shi et al., 2016).
    """
    chex.assert_rank(x, 4)
    batch, height, width, channels = x.shape
    if height % factor or width % factor:
        raise ValueError(f'height and width must be divisible by {factor}, got {height} x {width}')
    rows, columns = height // factor, width // factor
    x = x.reshape(batch, rows, factor, columns, factor, channels).swapaxes(2, 3)
    return x.reshape(batch, rows, columns, factor * factor * channels)


def depth_to_space(x: jax.Array, factor: int) -> jax.Array:
    """Unfolds channels into factor x factor squares: the inverse of `space_to_depth`.

    Args:
      x: [B, H, W, factor^2 C].
      factor: side of the square.

    Returns:
      [B, H factor, W factor, C].

    Real-Time Single Image and Video Super-Resolution ... Sub-Pixel CNN (Shi et al., 2016).
    """
    chex.assert_rank(x, 4)
    batch, rows, columns, depth = x.shape
    if depth % factor**2:
        raise ValueError(f'channels must be divisible by {factor**2}, got {depth}')
    channels = depth // factor**2
    x = x.reshape(batch, rows, columns, factor, factor, channels).swapaxes(2, 3)
    return x.reshape(batch, rows * factor, columns * factor, channels)


def patchify(images: jax.Array, patch: int) -> jax.Array:
    """Cuts images into square patches in row-major order, each flattened as (row, column, channel).

    Args:
      images: [B, H, W, C], H and W divisible by `patch`.
      patch: side of a patch in pixels.

    Returns:
      [B, N, patch^2 C], N = (H / patch)(W / patch).

    An Image is Worth 16x16 Words (Dosovitskiy et al., 2021).
    """
    grid = space_to_depth(images, patch)
    return grid.reshape(grid.shape[0], -1, grid.shape[-1])


def unpatchify(patches: jax.Array, patch: int, shape: tuple[int, int, int]) -> jax.Array:
    """Puts patches back together: the inverse of `patchify`.

    Args:
      patches: [B, N, patch^2 C].
      patch: side of a patch in pixels.
      shape: (H, W, C) of one image.

    Returns:
      [B, H, W, C].

    An Image is Worth 16x16 Words (Dosovitskiy et al., 2021).
    """
    height, width, channels = shape
    rows, columns = height // patch, width // patch
    if patches.shape[1:] != (rows * columns, patch**2 * channels):
        raise ValueError(f'patches of shape {patches.shape} do not tile images of shape {shape}')
    return depth_to_space(patches.reshape(-1, rows, columns, patches.shape[-1]), patch)
