"""Tones: short sounds of plucked, blown and bowed strings that do not exist."""

import jax
import numpy as np

SPLITS = ('train', 'validation', 'test')
PARTIALS = 12
TIMBRES = 4  # falling spectra, dull to bright, with all partials or the odd ones


def dataset(
    split: str, *, count: int | None = None, seed: int = 0, length: int = 4096, rate: int = 8000
) -> dict[str, np.ndarray]:
    """A split of tones with pitch and timbre.

        x_t = g e_t sum_p a_p sin(2 pi p phi_t + u_p) + noise,   a_p = p^(-slope of the timbre)

    with an envelope e of attack and decay, and a phase phi whose frequency sways (vibrato).
    Partials above half the rate are left out.

    Args:
      split: train, validation or test.
      count: N; None is 2000 for training and 500 for the others.
      seed: item i depends on split, seed, length and rate, not on the count.
      length: T, samples of a tone.
      rate: samples per second.

    Returns:
      sound float32 [N, T] in [-1, 1]; pitch float32 [N] in hertz, 80 to 640; label int32 [N], the
      timbre. All are read-only.

    NSynth: Neural Audio Synthesis of Musical Notes (Engel et al., 2017), for notes as data.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
    count = count or (2000 if split == 'train' else 500)
    draws = [np.random.default_rng([SPLITS.index(split), seed, i]) for i in range(count)]
    u = np.stack([draw.random(8 + PARTIALS) for draw in draws])
    noise = np.stack([draw.standard_normal(length, np.float32) for draw in draws])
    label = np.minimum((u[:, 0] * TIMBRES).astype(np.int32), TIMBRES - 1)
    pitch = 80 * 8 ** u[:, 1]
    seconds = np.arange(length) / rate
    phase = pitch[:, None] * (seconds + _vibrato(seconds, *u[:, 2:4].T[..., None]))
    sound = np.zeros((count, length), np.float32)
    for p in range(1, PARTIALS + 1):
        loud = p ** -np.where(label % 2, 0.7, 1.6) * (1 if p % 2 else label < TIMBRES // 2)
        loud = loud * (p * pitch < rate / 2)
        sound += loud[:, None] * np.sin(2 * np.pi * (p * phase + u[:, 7 + p, None]))
    sound *= _envelope(seconds / seconds[-1], *u[:, 4:6].T[..., None])
    sound /= np.abs(sound).max(1, keepdims=True)
    loudness, hiss = 0.3 + 0.6 * u[:, 6, None], 0.01 * u[:, 7, None]
    sound = np.clip(loudness * sound + hiss * noise, -1, 1).astype(np.float32)
    columns = {'sound': sound, 'pitch': pitch.astype(np.float32), 'label': label}
    for column in columns.values():
        column.setflags(write=False)
    return columns


def spec(batch: int, *, length: int = 4096) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of one batch, known without the tones.

    Args:
      batch: B.
      length: T.

    Returns:
      Of the columns of `dataset`, `jax.ShapeDtypeStruct`s of B rows.

    Planning a step by shapes alone (jax.eval_shape).
    """
    shapes = {'sound': ((batch, length), 'float32'), 'pitch': ((batch,), 'float32')}
    shapes['label'] = ((batch,), 'int32')
    return {name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()}


def _vibrato(seconds, depth, speed):
    """Integral of a relative frequency that sways by up to 1 % four to seven times a second."""
    omega = 2 * np.pi * (4 + 3 * speed)
    return 0.01 * depth * (1 - np.cos(omega * seconds)) / omega


def _envelope(time, attack, decay):
    """Rises within up to a tenth of the tone, and falls to between all and a tenth."""
    return np.minimum(1, time / (0.01 + 0.09 * attack)) * np.exp(-2.3 * decay * time)
