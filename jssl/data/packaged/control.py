"""What happened to someone who acted at random in gymnax's worlds: needs the extra 'rl'."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl.data.generated import draw
from jssl.data.readers import SPLITS, check_split

COUNTS = {'train': 512, 'validation': 128, 'test': 128}


def rollouts(
    split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs
) -> dict[str, np.ndarray]:
    """The trajectories of `sample`, as columns [N, T, ...].

    Args:
      split: train, validation or test, which differ in their keys.
      count: N; None is COUNTS.
      seed: another seed gives other trajectories.
      **knobs: of `sample`.

    Returns:
      What `sample` returns, with N in front.

    gymnax: A JAX-based Reinforcement Learning Environment Library (Lange, 2022).
    """
    check_split(split, SPLITS, 'rollouts')
    return draw.mapped(sample, split, COUNTS[split] if count is None else count, seed, **knobs)


def sample(
    key: jax.Array, *, world: str = 'Pendulum-v1', length: int = 64, hold: float = 0.8
) -> dict[str, jax.Array]:
    """One trajectory of actions drawn at random; when an episode ends, a new one begins.

    Args:
      key: of the trajectory.
      world: name of an environment, of `gymnax.registered_envs`.
      length: T, steps.
      hold: chance that an action is the last one again, so that the actor gets somewhere.

    Returns:
      observation and next_observation float32 [T, ...], before and after the action; action
      [T, ...], int32 or float32; reward float32 [T]; terminated and truncated bool [T], the episode
      ended with this step, by itself or by its limit; total float32, the sum of rewards.

    gymnax: A JAX-based Reinforcement Learning Environment Library (Lange, 2022).
    """
    import gymnax  # of the extra

    environment, constants = gymnax.make(world)
    act = environment.action_space(constants).sample

    def step(carry, key):
        observation, state, last = carry
        moved, held, chosen = jax.random.split(key, 3)
        action = jnp.where(jax.random.bernoulli(held, hold), last, act(chosen))
        new, state, reward, *ended, more = environment.step(moved, state, action, constants)
        told = {
            'observation': observation,
            'action': action,
            'reward': jnp.asarray(reward, jnp.float32),
            'next_observation': more['final_observation'],
            **dict(zip(('terminated', 'truncated'), ended, strict=True)),
        }
        return (new, state, action), told

    begun, first, steps = jax.random.split(key, 3)
    start = (*environment.reset(begun, constants), act(first))
    told = jax.lax.scan(step, start, jax.random.split(steps, length))[1]
    return told | {'total': told['reward'].sum()}
