"""Graphs with known structure: blocks, layers, roles, degrees, scholars, trees.

FAMILIES
  blocks      a stochastic block model with features of chosen informativeness
  multiplex   layers that tell parts of the label, of which some edges are noise
  roles       motifs on a ring; a node's role shows two or three hops away
  rewired     graphs of one degree sequence whose classes differ in who is linked to whom
  scholars    authors, papers, venues and terms
  tree, grid  label spaces with their distances
"""

import numpy as np
from scipy.sparse.csgraph import shortest_path
from scipy.special import softmax

from jssl.data.generated import draw
from jssl.errors import Refusal

COUNTS = {'train': 64, 'validation': 16, 'test': 16}
LICENCE = 'Apache-2.0'
MOTIFS = {
    # Edges among nodes 0 to 4, and each node's role; node 0 is tied to the ring.
    'house': ([(0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 4)], (0, 1, 1, 2, 2)),
    'star': ([(1, 0), (1, 2), (1, 3), (1, 4)], (0, 1, 2, 2, 2)),
    'cycle': ([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)], (0, 1, 2, 2, 1)),
    'fan': ([(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4)], (0, 1, 2, 2, 1)),
}


def blocks(
    random: np.random.Generator,
    *,
    nodes: int = 200,
    classes: int = 4,
    degree: float = 8.0,
    homophily: float = 0.7,
    dimension: int = 16,
    informative: float = 1.0,
    labelled: int = 10,
) -> dict[str, np.ndarray]:
    """A stochastic block model.

        P(edge) = p if two nodes are of one class, else q;  x ~ N(informative mean_y, I), |mean| = 1

    with p and q such that a node has `degree` neighbours and `homophily` of them of its class.

    Args:
      random: NumPy generator.
      nodes, classes: N and K.
      degree, homophily: expected; homophily 1 / K says nothing of the class.
      dimension, informative: of the features; informative 0 says nothing.
      labelled: nodes of a class that are for training; half as many are for validation.

    Returns:
      adjacency bool [N, N], symmetric without loops; feature float32 [N, D]; label int32 [N]; part
      int32 [N], 0 train, 1 validation, 2 test; feature_posterior float32 [N, K], p(label |
      feature); posterior float32 [N, K], p(label | feature, edges, all other labels).

    Stochastic blockmodels: First steps (Holland et al., 1983).
    """
    label = random.integers(classes, size=nodes)
    rate = _rates(nodes, classes, degree, homophily)
    same = label[:, None] == label
    adjacency = _edges(random, np.where(same, *rate))
    mean = random.standard_normal((classes, dimension))
    mean *= informative / np.linalg.norm(mean, axis=1, keepdims=True)
    feature = mean[label] + random.standard_normal((nodes, dimension))
    by_feature = feature @ mean.T - np.square(mean).sum(1) / 2
    # Of each node and class: neighbours in the class, and others in the class that are none.
    one = (label[:, None] == np.arange(classes)).astype(float)
    near = adjacency @ one
    far = one.sum(0) - one - near
    tied, untied = (np.log(p[0]) - np.log(p[1]) for p in (rate, 1 - rate))
    return {
        'adjacency': adjacency,
        'feature': feature.astype(np.float32),
        'label': label.astype(np.int32),
        'part': _parts(random, label, labelled),
        'feature_posterior': softmax(by_feature, 1).astype(np.float32),
        'posterior': softmax(by_feature + near * tied + far * untied, 1).astype(np.float32),
    }


def _rates(nodes, classes, degree, homophily):
    """Chances of an edge within a class and between two."""
    inside = nodes / classes - 1
    rate = degree * np.array([homophily / inside, (1 - homophily) / (nodes - 1 - inside)])
    if not 0 < rate.max() < 1:
        raise Refusal(f'degree {degree:g} does not fit {nodes} nodes: lower it')
    return rate.clip(1e-9)


def _edges(random, probability):
    """Symmetric and without loops, each edge by its probability."""
    upper = np.triu(random.random(probability.shape) < probability, 1)
    return upper | upper.T


def _parts(random, label, labelled):
    """0 for some nodes of each class, 1 for half as many, 2 for the others."""
    order = random.permutation(len(label))
    rank = np.empty(len(label), int)
    for y in np.unique(label):
        rows = order[label[order] == y]
        rank[rows] = np.arange(len(rows))
    return np.searchsorted([labelled, labelled + labelled // 2], rank, 'right').astype(np.int32)


def multiplex(
    random: np.random.Generator,
    *,
    nodes: int = 480,
    values: int = 2,
    degree: float = 12.0,
    homophily: float = 0.9,
    weak: float = 0.4,
    redundant: bool = False,
    noise_layers: int = 0,
    added: float = 0.4,
    dimension: int = 32,
    informative: float = 1.0,
    labelled: int = 10,
) -> dict[str, np.ndarray]:
    """One set of nodes, several kinds of edges; the label is a pair, a part to each kind.

        label = (a, b);  layer 1 tells a, layer 2 tells b, layer 3 both, weakly

    Args:
      random: NumPy generator.
      nodes: N.
      values: of a and of b; there are values^2 classes.
      degree, homophily: expected, of layers 1 and 2.
      weak: homophily of layer 3, with respect to the pair.
      redundant: layers 1 and 2 tell the pair, both the same.
      noise_layers: further layers of random edges.
      added: random edges that are added to each layer, as a share of its own.
      dimension, informative, labelled: as `blocks`.

    Returns:
      adjacency, clean bool [R, N, N], with added edges and without; feature float32 [N, D]; label,
      part int32 [N]; factor int32 [N, 2], a and b.

    Multiplex Graph Structure Learning (Shen et al., 2024).
    """
    factor = random.integers(values, size=(nodes, 2))
    label = factor @ np.array([values, 1])
    told = [label, label] if redundant else list(factor.T)
    strength = [homophily, homophily, weak]
    layers = []
    for y, h in zip([*told, label], strength, strict=True):
        rate = _rates(nodes, y.max() + 1, degree, h)
        layers.append(_edges(random, np.where(y[:, None] == y, *rate)))
    flat = degree / (nodes - 1)
    layers += [_edges(random, np.full((nodes, nodes), flat)) for _ in range(noise_layers)]
    clean = np.stack(layers)
    extra = [_edges(random, np.full((nodes, nodes), added * flat)) for _ in layers]
    mean = random.standard_normal((values**2, dimension))
    mean *= informative / np.linalg.norm(mean, axis=1, keepdims=True)
    return {
        'adjacency': clean | np.stack(extra),
        'clean': clean,
        'feature': (mean[label] + random.standard_normal((nodes, dimension))).astype(np.float32),
        'label': label.astype(np.int32),
        'part': _parts(random, label, labelled),
        'factor': factor.astype(np.int32),
    }


def corrupted(
    random: np.random.Generator, made: dict[str, np.ndarray], *, kind: str, share: float
) -> dict[str, np.ndarray]:
    """A graph with edges added or removed, or with parts of its features set to zero.

    Args:
      random: NumPy generator.
      made: columns with adjacency bool [..., N, N] and feature [N, D].
      kind: 'added', 'removed' or 'masked'.
      share: of each layer's edges that come or go, of the features that are masked; expected.

    Returns:
      The columns, of which one is changed.

    Multiplex Graph Structure Learning (Shen et al., 2024), figure 4.
    """
    adjacency, feature = made['adjacency'], made['feature']
    if kind == 'masked':
        return made | {'feature': feature * (random.random(feature.shape) >= share)}
    density = adjacency.mean((-2, -1), keepdims=True) if kind == 'added' else 1.0
    drawn = np.triu(random.random(adjacency.shape) < share * density, 1)
    drawn |= drawn.swapaxes(-2, -1)
    return made | {'adjacency': adjacency | drawn if kind == 'added' else adjacency & ~drawn}


def roles(
    random: np.random.Generator, *, ring: int = 40, motifs: int = 16, labelled: int = 5
) -> dict[str, np.ndarray]:
    """Motifs tied to a ring at random places; a node's label is its role in its motif.

    Args:
      random: NumPy generator.
      ring: nodes of the ring, at least `motifs`.
      motifs: of five nodes each, kinds in turn.
      labelled: as `blocks`.

    Returns:
      adjacency bool [N, N], N = ring + 5 motifs; label int32 [N]: 0 on the ring, 1 where a motif
      is tied to it, then three roles for each of `MOTIFS`; motif int32 [N], which, -1 on the ring;
      part int32 [N]; feature float32 [N, 1] of ones.

    struc2vec: Learning Node Representations from Structural Identity (Ribeiro et al., 2017).
    """
    nodes = ring + 5 * motifs
    adjacency = np.zeros((nodes, nodes), bool)
    label, motif = np.zeros(nodes, np.int32), np.full(nodes, -1, np.int32)
    adjacency[np.arange(ring), (np.arange(ring) + 1) % ring] = True
    for m, tie in enumerate(random.permutation(ring)[:motifs]):
        kind, first = m % len(MOTIFS), ring + 5 * m
        edges, role = list(MOTIFS.values())[kind]
        for i, j in edges:
            adjacency[first + i, first + j] = True
        adjacency[tie, first], label[tie] = True, 1
        label[first : first + 5] = 2 + 3 * kind + np.array(role)
        motif[first : first + 5] = m
    order = random.permutation(nodes)
    label, motif = label[order], motif[order]
    return {
        'adjacency': (adjacency | adjacency.T)[np.ix_(order, order)],
        'label': label,
        'motif': motif,
        'part': _parts(random, label, labelled),
        'feature': np.ones((nodes, 1), np.float32),
    }


def rewired(
    random: np.random.Generator, *, nodes: int = 24, swaps: int = 40
) -> dict[str, np.ndarray]:
    """A graph of fixed degrees: of class 1 like is linked to like, of class 0 to unlike.

    A third of the nodes has degree 5, the others 2. Pairs of edges (i j), (k l) become (i l), (k j)
    where that raises, or lowers, the sum over edges of the product of their ends' degrees.

    Args:
      random: NumPy generator.
      nodes: N, a multiple of 3.
      swaps: pairs of edges that are tried.

    Returns:
      adjacency bool [N, N]; label int32; feature float32 [N, 1] of ones; assortativity float32, the
      correlation of the degrees at an edge's ends.

    Mixing patterns in networks (Newman, 2003).
    """
    label = int(random.integers(2))
    degree = np.where(np.arange(nodes) % 3 == 0, 5, 2)
    adjacency = _configuration(random, degree)
    for _ in range(swaps):
        edges = np.argwhere(np.triu(adjacency))
        (i, j), (k, l) = edges[random.permutation(len(edges))[:2]]
        if random.random() < 0.5:
            k, l = l, k
        gain = (degree[i] - degree[k]) * (degree[l] - degree[j])
        free = len({i, j, k, l}) == 4 and not adjacency[i, l] and not adjacency[k, j]
        if free and (gain > 0 if label else gain < 0):
            adjacency[[i, j, k, l], [j, i, l, k]] = False
            adjacency[[i, l, k, j], [l, i, j, k]] = True
    order = random.permutation(nodes)
    adjacency = adjacency[np.ix_(order, order)]
    ends = adjacency.sum(0)[np.argwhere(adjacency)]
    return {
        'adjacency': adjacency,
        'label': np.int32(label),
        'feature': np.ones((nodes, 1), np.float32),
        'assortativity': np.float32(np.corrcoef(ends.T)[0, 1]),
    }


def _configuration(random, degree):
    """A simple graph of given degrees, drawn by pairing stubs until none is a loop or doubled."""
    stubs = np.repeat(np.arange(len(degree)), degree)
    while True:
        pairs = random.permutation(stubs).reshape(-1, 2)
        adjacency = np.zeros((len(degree), len(degree)), bool)
        adjacency[pairs[:, 0], pairs[:, 1]] = adjacency[pairs[:, 1], pairs[:, 0]] = True
        if not adjacency.diagonal().any() and (adjacency.sum(0) == degree).all():
            return adjacency


def scholars(
    random: np.random.Generator,
    *,
    authors: int = 600,
    papers: int = 1200,
    classes: int = 4,
    mixing: float = 0.3,
    pure: float = 0.9,
    dimension: int = 16,
    informative: float = 0.5,
    labelled: int = 20,
) -> dict[str, np.ndarray]:
    """Authors, their papers, and the papers' venues and terms.

    A mixed paper has authors of any class, appears at a venue of all classes, with any terms: that
    two authors share a paper says little, and the paper's venue and terms tell when.

    Args:
      random: NumPy generator.
      authors, papers: A and P; a paper has one to three authors.
      classes: of authors; each has three venues and fifteen terms, and all share three venues.
      mixing: share of mixed papers.
      pure: p(a term, or a venue, of an unmixed paper is its class's own).
      dimension, informative, labelled: of the authors' features, as `blocks`.

    Returns:
      author_paper bool [A, P]; paper_venue bool [P, V]; paper_term bool [P, T], four a paper;
      label, part int32 [A]; paper_label int32 [P], -1 for a mixed one; feature float32 [A, D].

    Heterogeneous Graph Attention Network (Wang et al., 2019), for such data.
    """
    label = random.integers(classes, size=authors)
    topic = random.integers(classes, size=papers)
    mixed = random.random(papers) < mixing
    author_paper = np.zeros((authors, papers), bool)
    for p in range(papers):
        own = np.arange(authors) if mixed[p] else np.flatnonzero(label == topic[p])
        author_paper[random.choice(own, int(random.integers(1, 4)), replace=False), p] = True
    venues, terms = 3 * classes, 15 * classes
    free = (random.random(papers) >= pure) | mixed
    venue = np.where(free, random.integers(venues, size=papers), 3 * topic)
    venue = np.where(free, venue, venue + random.integers(3, size=papers))
    venue = np.where(mixed, venues + random.integers(3, size=papers), venue)
    # The four smallest of noisy ranks: own terms come first unless they are freed.
    free = (random.random((papers, terms)) >= pure) | mixed[:, None]
    own = (np.arange(terms) // 15 == topic[:, None]) & ~free
    rank = np.argsort(random.random((papers, terms)) - own, 1)[:, :4]
    swap = random.random((papers, 4)) >= pure
    rank = np.where(swap, random.integers(terms, size=(papers, 4)), rank)
    mean = random.standard_normal((classes, dimension))
    mean *= informative / np.linalg.norm(mean, axis=1, keepdims=True)
    return {
        'author_paper': author_paper,
        'paper_venue': venue[:, None] == np.arange(venues + 3),
        'paper_term': (rank[:, :, None] == np.arange(terms)).any(1),
        'label': label.astype(np.int32),
        'part': _parts(random, label, labelled),
        'paper_label': np.where(mixed, -1, topic).astype(np.int32),
        'feature': (mean[label] + random.standard_normal((authors, dimension))).astype(np.float32),
    }


def tree(random: np.random.Generator, *, nodes: int = 48) -> dict[str, np.ndarray]:
    """A random tree: each node hangs on an earlier one.

    Args:
      random: NumPy generator.
      nodes: N.

    Returns:
      adjacency bool [N, N]; parent int32 [N], -1 of the root; distance float32 [N, N], edges
      between two nodes; leaf bool [N].

    Geometry-Aware Adaptation for Pretrained Models (Roberts et al., 2023), for label spaces.
    """
    parent = np.array([-1, *(random.integers(i) for i in range(1, nodes))], np.int32)
    adjacency = np.zeros((nodes, nodes), bool)
    adjacency[np.arange(1, nodes), parent[1:]] = True
    adjacency |= adjacency.T
    return {
        'adjacency': adjacency,
        'parent': parent,
        'distance': shortest_path(adjacency, unweighted=True).astype(np.float32),
        'leaf': adjacency.sum(0) == 1,
    }


def grid(random: np.random.Generator, *, side: int = 8) -> dict[str, np.ndarray]:
    """A square grid whose nodes stand in random order.

    Args:
      random: NumPy generator.
      side: S.

    Returns:
      adjacency bool [N, N] with N = S^2; place int32 [N, 2], row and column; distance float32
      [N, N], edges between two nodes.

    Geometry-Aware Adaptation for Pretrained Models (Roberts et al., 2023), for label spaces.
    """
    place = np.stack(np.divmod(random.permutation(side**2), side), 1).astype(np.int32)
    distance = abs(place[:, None] - place).sum(2).astype(np.float32)
    return {'adjacency': distance == 1, 'place': place, 'distance': distance}


def edited(random: np.random.Generator, adjacency: np.ndarray, edits: int) -> np.ndarray:
    """A graph in which a number of pairs are linked that were not, or the other way round.

    An edge that goes and an edge that comes are equally likely, as long as there are any.

    Args:
      random: NumPy generator.
      adjacency: bool [N, N].
      edits: how many; with the nodes kept apart, it is the graphs' edit distance.

    Returns:
      bool [N, N].

    Graph Self-supervised Learning with Accurate Discrepancy Learning (Kim et al., 2022).
    """
    result = adjacency.copy()
    pairs = np.stack(np.triu_indices(len(adjacency), 1), 1)
    linked = adjacency[tuple(pairs.T)]
    there, absent = (random.permutation(pairs[linked == value]) for value in (True, False))
    gone = int(np.clip(random.binomial(edits, 0.5), edits - len(absent), len(there)))
    for i, j in [*there[:gone], *absent[: edits - gone]]:
        result[i, j] = result[j, i] = not result[i, j]
    return result


FAMILIES = {
    'blocks': blocks,
    'multiplex': multiplex,
    'roles': roles,
    'rewired': rewired,
    'scholars': scholars,
    'tree': tree,
    'grid': grid,
}


def source(
    split: str = 'train',
    *,
    family: str = 'blocks',
    count: int | None = None,
    seed: int = 0,
    **knobs,
) -> draw.Drawn:
    """Graphs that are drawn when they are asked for; the knobs are those of the family's function.

    Stochastic blockmodels: First steps (Holland et al., 1983).
    """
    if family not in FAMILIES:
        raise Refusal(f'no family {family!r} of graphs: choose {", ".join(FAMILIES)}')
    count = COUNTS[split] if count is None else count
    return draw.Drawn(FAMILIES[family], split, count, seed, **knobs)


def dataset(split: str = 'train', **knobs) -> dict[str, np.ndarray]:
    """The graphs of `source` in memory: the columns of the family's function, [N, ...].

    Stochastic blockmodels: First steps (Holland et al., 1983).
    """
    drawn = source(split, **knobs)
    items = [drawn[i] for i in range(len(drawn))]
    return {name: np.stack([item[name] for item in items]) for name in items[0]}
