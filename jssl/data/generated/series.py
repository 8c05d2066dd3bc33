"""Series: bodies felt by several sensors, symbols of a machine, figures drawn by hand, demand.

Each family is about a hidden cause: the activity of a body, the state of a machine, the figure that
a hand draws, the habits of a customer. It is told for every item or step.
"""

import numpy as np

from jssl.data.generated import draw
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 2000, 'validation': 500, 'test': 500}

ACTIVITIES = ('lie', 'stand', 'walk', 'run', 'climb', 'cycle', 'row', 'jump')
PLACES = ('head', 'chest', 'forearm', 'thigh', 'shin')
USERS = {'train': range(8), 'validation': range(8, 9), 'test': range(9, 12)}
RATE = 33.0  # steps a second
# Of each activity: cycles a second, and how much every place swings, in g.
_TEMPO = np.array([0.25, 0.3, 1.8, 2.7, 1.5, 1.2, 0.6, 2.1])
_SWING = np.array(
    [
        [0.02, 0.04, 0.02, 0.01, 0.01],
        [0.05, 0.03, 0.08, 0.02, 0.01],
        [0.25, 0.25, 0.35, 0.7, 1.0],
        [0.7, 0.7, 0.9, 1.4, 2.0],
        [0.3, 0.3, 0.25, 1.0, 0.9],
        [0.15, 0.12, 0.1, 1.0, 1.1],
        [0.4, 0.7, 1.2, 0.3, 0.1],
        [1.2, 1.2, 1.3, 1.3, 1.3],
    ]
)

# Of each state: (probability, symbol, next state).
MACHINE = (
    ((1.0, 0, 1),),
    ((0.3, 1, 2), (0.7, 2, 3)),
    ((1.0, 1, 3),),
    ((1.0, 3, 0),),
)
SYMBOLS = 4
FIGURES = ('circle', 'eight', 'triangle')
CUSTOMERS = 40


def movement(
    generator: np.random.Generator,
    *,
    length: int = 100,
    users: tuple[int, ...] = tuple(USERS['train']),
    turn: float = 25.0,
    gain: float = 0.15,
    noise: float = 0.08,
) -> dict[str, np.ndarray]:
    """Three seconds of a body that moves, felt by devices at five places of it.

    Args:
      generator: NumPy generator.
      length: T, steps of 1 / RATE seconds.
      users: people, drawn evenly; each has a tempo, a force and devices of their own.
      turn: of a user's devices against their places, standard deviation in degrees.
      gain: of a user's devices, standard deviation of the logarithm.
      noise: standard deviation of what devices add, in g.

    Returns:
      signal float32 [T, 30], of each of PLACES acceleration (g) and turning along three axes;
      label int32, place in ACTIVITIES; user int32; tempo float32, cycles a second.

    ColloSSL: Collaborative Self-Supervised Learning for Human Activity Recognition (Jain et al.,
    2022), for the task.
    """
    label, user = int(generator.integers(len(ACTIVITIES))), users[generator.integers(len(users))]
    person = np.random.default_rng([user, 13])
    tempo = _TEMPO[label] * np.exp(
        0.12 * person.standard_normal() + 0.05 * generator.standard_normal()
    )
    force = np.exp(0.2 * person.standard_normal() + 0.1 * generator.standard_normal())
    time = 2 * np.pi * tempo * np.arange(length) / RATE + generator.uniform(0, 2 * np.pi)
    channels = []
    for place in range(len(PLACES)):
        wave, slope = _gait(label, place, time)
        level = [1.0, 0, 0] if ACTIVITIES[label] == 'lie' else [0, 0, 1.0]
        swing = force * _SWING[label, place]
        body = np.concatenate([level + swing * wave, 1.5 * swing * slope], -1)
        turned = _rotation(person.standard_normal(3) * np.deg2rad(turn))
        body = (body.reshape(length, 2, 3) @ turned.T).reshape(length, 6)
        body = body * np.exp(gain * person.standard_normal())
        channels.append(body + noise * generator.standard_normal(body.shape))
    return {
        'signal': np.concatenate(channels, -1).astype(np.float32),
        'label': np.int32(label),
        'user': np.int32(user),
        'tempo': np.float32(tempo),
    }


def _gait(label, place, time):
    """How a place swings in an activity and how fast, [T, 3] each: three harmonics an axis.

    Head, chest and forearm follow the trunk and each a little of its own; legs do not.
    """
    own, trunk = (np.random.default_rng([label, 14, p]) for p in (place, 0 if place < 3 else place))
    share = 0.35 if place < 3 else 1.0
    weight = share * own.standard_normal((3, 3)) + (1 - share) * trunk.standard_normal((3, 3))
    weight = weight * [[1.0, 0.5, 0.25]]
    weight = weight / np.linalg.norm(weight)
    phase = trunk.uniform(0, 2 * np.pi, (3, 3))
    angle = time[:, None, None] * [1, 2, 3] + phase
    return (weight * np.sin(angle)).sum(-1), (weight * [1, 2, 3] * np.cos(angle)).sum(-1)


def _rotation(vector):
    """Rodrigues' formula: the rotation about a vector by its length in radians."""
    angle = np.linalg.norm(vector) + 1e-12
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def machine(
    generator: np.random.Generator,
    *,
    length: int = 48,
    transitions: tuple = MACHINE,
    noise: float = 0.05,
) -> dict[str, np.ndarray]:
    """Symbols that a machine of few states emits, some by chance.

    Args:
      generator: NumPy generator.
      length: T.
      transitions: of each state, triples of probability, symbol below SYMBOLS and next state.
      noise: standard deviation of the signal.

    Returns:
      signal float32 [T, 2], a corner of a square for each symbol; tokens int32 [T], the symbols;
      state int32 [T], before each; probability float32 [T] of each symbol, given the state.

    A Novel Predictive-Coding-Inspired Variational RNN Model for Online Prediction and Recognition
    (Ahmadi and Tani, 2019), for the machine.
    """
    state, told = int(generator.integers(len(transitions))), []
    for _ in range(length):
        chance = [p for p, _, _ in transitions[state]]
        p, symbol, after = transitions[state][generator.choice(len(chance), p=chance)]
        told.append((symbol, state, p))
        state = after
    tokens, states, chance = zip(*told, strict=True)
    angle = np.pi / 4 + np.pi / 2 * np.array(tokens)
    place = np.stack([np.cos(angle), np.sin(angle)], -1)
    return {
        'signal': (place + noise * generator.standard_normal((length, 2))).astype(np.float32),
        'tokens': np.array(tokens, np.int32),
        'state': np.array(states, np.int32),
        'probability': np.array(chance, np.float32),
    }


def drawing(
    generator: np.random.Generator,
    *,
    length: int = 96,
    period: int = 16,
    stay: float = 0.4,
    noise: float = 0.02,
) -> dict[str, np.ndarray]:
    """A hand that draws one figure after another, each once round, and then chooses anew.

    Args:
      generator: NumPy generator.
      length: T.
      period: steps of a figure.
      stay: probability that the next figure is the same; others are equally likely.
      noise: standard deviation of the hand.

    Returns:
      signal float32 [T, 2], x and y in -1 to 1; label int32 [T], place in FIGURES; phase float32
      [T], 0 to 1 along the figure; clean float32 [T, 2], the signal without noise.

    A Novel Predictive-Coding-Inspired Variational RNN Model for Online Prediction and Recognition
    (Ahmadi and Tani, 2019), for the task.
    """
    figures = [int(generator.integers(len(FIGURES)))]
    while len(figures) * period < length + period:
        others = [k for k in range(len(FIGURES)) if k != figures[-1]]
        same = generator.random() < stay
        figures.append(figures[-1] if same else others[generator.integers(len(others))])
    start = int(generator.integers(period))
    label = np.repeat(figures, period)[start : start + length]
    phase = (start + np.arange(length)) % period / period
    angle = 2 * np.pi * phase
    corner, along = np.divmod(3 * phase, 1)
    tip = lambda k: np.stack([np.sin(2 * np.pi * k / 3), np.cos(2 * np.pi * k / 3)], -1)
    # All begin at the top, or the pen would jump.
    shapes = [
        np.stack([np.sin(angle), np.cos(angle)], -1),
        np.stack([np.sin(2 * angle), np.cos(angle)], -1),
        tip(corner) + along[:, None] * (tip(corner + 1) - tip(corner)),
    ]
    clean = np.choose(label[:, None], shapes)
    signal = clean + noise * generator.standard_normal(clean.shape)
    return {
        'signal': signal.astype(np.float32),
        'label': label.astype(np.int32),
        'phase': phase.astype(np.float32),
        'clean': clean.astype(np.float32),
    }


def demand(
    generator: np.random.Generator,
    *,
    length: int = 72,
    horizon: int = 24,
    customers: tuple[int, ...] = tuple(range(CUSTOMERS)),
    memory: float = 0.7,
    noise: float = 0.15,
) -> dict[str, np.ndarray]:
    """Hours of what a customer uses, and the hours after them.

        y_t = level (1 + day(t) + week(t)) + e_t,   e_t = memory e_(t-1) + noise n_t

    Args:
      generator: NumPy generator.
      length: T, hours that are known.
      horizon: H, hours to forecast.
      customers: drawn evenly; each has a level and habits.
      memory: of what habits do not explain.
      noise: standard deviation of what is new each hour, relative to the level.

    Returns:
      signal float32 [T, 1]; target float32 [H]; expected float32 [H], the best forecast of one who
      knows the habits; hour int32, of the week, at which the target begins; customer int32.

    Deep Regression Unlearning (Tarun et al., 2023), for the task.
    """
    customer = customers[generator.integers(len(customers))]
    person = np.random.default_rng([customer, 15])
    hour = int(generator.integers(168))
    time = hour + np.arange(-length, horizon)
    level = np.exp(0.5 * person.standard_normal())
    harmonics = 2 * np.pi / 24 * np.arange(1, 4) * (time[:, None] - person.uniform(0, 24, 3))
    day = (np.cos(harmonics) * person.uniform(0.1, 0.4, 3)).sum(1)
    weekend = person.uniform(-0.5, 0.5) * (time % 168 >= 120)
    usual = level * (1 + day + weekend)
    news = level * noise * generator.standard_normal(len(time))
    news[0] /= np.sqrt(1 - memory**2) if memory < 1 else 1
    for t in range(1, len(news)):
        news[t] += memory * news[t - 1]
    kept = news[length - 1] * memory ** np.arange(1, horizon + 1)
    y = usual + news
    return {
        'signal': y[:length, None].astype(np.float32),
        'target': y[length:].astype(np.float32),
        'expected': (usual[length:] + kept).astype(np.float32),
        'hour': np.int32(hour),
        'customer': np.int32(customer),
    }


FAMILIES = {'movement': movement, 'machine': machine, 'drawing': drawing, 'demand': demand}


def source(
    split: str = 'train',
    *,
    family: str = 'movement',
    count: int | None = None,
    seed: int = 0,
    **knobs,
) -> draw.Drawn:
    """Series that are drawn when they are asked for; movement is of the split's own users.

    Args:
      split: train, validation or test.
      family: movement, machine, drawing or demand.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of the family's function.

    Returns:
      `draw.Drawn` of dicts.

    Time Series Analysis: Forecasting and Control (Box et al., 2015).
    """
    if family not in FAMILIES:
        raise Refusal(f'no family {family!r} of series: choose {", ".join(FAMILIES)}')
    own = {'users': tuple(USERS.get(split, ()))} if family == 'movement' else {}
    count = COUNTS[split] if count is None else count
    return draw.Drawn(FAMILIES[family], split, count, seed, **own | knobs)


def dataset(split: str = 'train', **knobs) -> dict[str, np.ndarray]:
    """The series of `source` in memory: the columns of the family's function, [N, ...].

    Time Series Analysis: Forecasting and Control (Box et al., 2015).
    """
    drawn = source(split, **knobs)
    items = [drawn[i] for i in range(len(drawn))]
    return {name: np.stack([item[name] for item in items]) for name in items[0]}
