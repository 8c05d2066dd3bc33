"""Which airline flies where: one network of airports with a layer for each airline."""

import numpy as np

from jssl.data import vendored
from jssl.data.readers import SPLITS, check_split, stratified_split


def routes(split: str) -> dict[str, np.ndarray]:
    """Flights of `airline_network` as links to predict; both directions are in one split.

    Args:
      split: train, validation or test, in every layer.

    Returns:
      edges int32 [N, 2], (origin, destination) as rows of the network; label int32 [N], the
      layer, which is the airline.

    Unsupervised Attributed Multiplex Network Embedding (Park et al., 2020), for layers as views.
    """
    check_split(split, SPLITS, 'routes')
    label, *ends = airline_network()['edges'].T
    pair = np.sort(ends, axis=0)
    links, member = np.unique(np.stack([label, *pair], 1), axis=0, return_inverse=True)
    tags = [b'%d %d %d' % tuple(link) for link in links.tolist()]
    chosen = stratified_split(links[:, 0], tags, split)
    rows = np.concatenate([np.flatnonzero(member == link) for link in chosen])
    return {'edges': np.stack(ends, 1)[rows], 'label': label[rows]}


def airline_network() -> dict[str, np.ndarray]:
    """Airports of the United States and who flew between them, July 2026.

    Returns:
      Of A airports: airport and city (object [A]), place float32 [A, 2], degrees north and east.
      airline (object [L]), the code of each layer; edges int32 [E, 3], (layer, origin,
      destination), each at least four flights of that month.

    Unsupervised Attributed Multiplex Network Embedding (Park et al., 2020), for layers as views.
    """
    found = vendored.arrays('routes')
    return {
        'airport': vendored.lines(found['airport']),
        'city': vendored.lines(found['city']),
        'place': found['place'],
        'airline': vendored.lines(found['airline']),
        'edges': found['edges'].astype(np.int32),
    }
