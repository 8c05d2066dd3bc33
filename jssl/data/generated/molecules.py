"""Small organic molecules: rings with groups upon them, as SMILES and as graphs.

They are put together from texts, so that each is valid without a chemistry package; `rdkit` (the
extra 'molecules') reads them for anything that is not told here. Splits share no scaffold.
"""

import re

import numpy as np
from scipy.sparse.csgraph import shortest_path

from jssl.data.generated import draw
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 3000, 'validation': 300, 'test': 600}
# A group, or none, stands in every pair of braces.
SCAFFOLDS = {
    'train': (
        *('c1cc{}cc{}c1{}', 'c1nc{}cc{}c1', 'c1oc{}cc1{}', 'C1CC{}CC{}C1', 'C1CC{}NC1{}'),
        *('c1cc{}c2c{}cccc2c1', 'C1OCC{}NC1{}', 'C1CC{}CC{}C1c1cc{}ccc1'),
    ),
    'validation': ('c1sc{}cc1{}', 'C1CC{}C{}C1'),
    'test': ('C1Cc2cc{}cc{}c2C1', 'c1nc{}nc{}c1', 'C1CC{}OC1{}', 'c1cc{}ccc1Cc1cc{}ccc1'),
}
GROUPS = ('C', 'O', 'N', 'F', 'Cl', 'C#N', 'C(=O)O', 'C(=O)N', 'OC', 'C=O', 'C(=O)C', 'CO', 'CN')
ELEMENTS = ('C', 'N', 'O', 'F', 'S', 'Cl')
ATOMS = 28  # room for atoms but hydrogen
PROPERTIES = ('mass', 'donors', 'acceptors', 'rings')
_MASS = np.array([12.011, 14.007, 15.999, 18.998, 32.06, 35.45])
_VALENCE = np.array([4, 3, 2, 1, 2, 1])
_ORDER = {'': 1.0, '=': 2.0, '#': 3.0}


def sample(
    generator: np.random.Generator,
    *,
    scaffolds: tuple[str, ...] = SCAFFOLDS['train'],
    groups: tuple[str, ...] = GROUPS,
    empty: float = 0.2,
    apart: tuple[int, int] = (3, 7),
) -> dict[str, np.ndarray]:
    """Puts one molecule together.

    Args:
      generator: NumPy generator.
      scaffolds: texts with braces, drawn evenly.
      groups: what may stand in the braces, drawn evenly.
      empty: probability that hydrogen stands there.
      apart: bonds between a donor and a double-bonded oxygen of an active molecule, least and most.

    Returns:
      text, its SMILES; adjacency float32 [A, A], orders of bonds, 1.5 in aromatic rings; element
      int32 [A], place in ELEMENTS or -1; hydrogen int32 [A], bound to each; property float32 [4],
      as PROPERTIES; scaffold int32, place among `scaffolds`; label int32, whether an atom of
      nitrogen or oxygen that bears hydrogen is so many bonds from an oxygen that a double bond
      holds.

    SMILES, a chemical language and information system (Weininger, 1988).
    """
    scaffold = int(generator.integers(len(scaffolds)))
    core = scaffolds[scaffold]
    chosen = [
        '' if generator.random() < empty else f'({groups[generator.integers(len(groups))]})'
        for _ in range(core.count('{}'))
    ]
    text = core.format(*chosen)
    element, adjacency = graph(text)
    count = len(element)
    if count > ATOMS:
        raise Refusal(f'{text} has {count} atoms: there is room for {ATOMS}')
    hydrogen = np.maximum(_VALENCE[element] - np.floor(adjacency.sum(1)), 0).astype(np.int32)
    polar = np.isin(element, (1, 2))
    donor, double = polar & (hydrogen > 0), (element == 2) & (adjacency == 2).any(1)
    far = shortest_path(adjacency > 0, unweighted=True)[donor][:, double]
    bonds = np.count_nonzero(np.triu(adjacency))
    mass = _MASS[element].sum() + 1.008 * hydrogen.sum()
    room = (0, ATOMS - count)
    return {
        'text': np.str_(text),
        'adjacency': np.pad(adjacency, (room, room)),
        'element': np.pad(element, room, constant_values=-1),
        'hydrogen': np.pad(hydrogen, room),
        'property': np.array([mass, donor.sum(), polar.sum(), bonds - count + 1], np.float32),
        'scaffold': np.int32(scaffold),
        'label': np.int32(((far >= apart[0]) & (far <= apart[1])).any()),
    }


def graph(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads SMILES of ELEMENTS without charges, isotopes or stereochemistry.

    Args:
      text: such as 'c1cc(C(=O)O)ccc1'.

    Returns:
      element int32 [A], places in ELEMENTS; orders of bonds float32 [A, A].

    SMILES, a chemical language and information system (Weininger, 1988).
    """
    parts = re.findall(r'Cl|[CNOFScnos]|[=#()]|\d', text)
    if ''.join(parts) != text:
        raise Refusal(f'{text!r} is no SMILES of {", ".join(ELEMENTS)} alone')
    element, aromatic, bonds = [], [], []
    before, order, branches, open_rings = None, '', [], {}
    for part in parts:
        if part == '(':
            branches.append(before)
        elif part == ')':
            before = branches.pop()
        elif part in '=#':
            order = part
        elif part.isdigit():
            if part in open_rings:
                bonds.append((open_rings.pop(part), before, ''))
            else:
                open_rings[part] = before
        else:
            element.append(ELEMENTS.index(part.capitalize()))
            aromatic.append(part.islower())
            if before is not None:
                bonds.append((before, len(element) - 1, order))
            before, order = len(element) - 1, ''
    adjacency = np.zeros((len(element), len(element)), np.float32)
    for i, j, order in bonds:
        adjacency[i, j] = adjacency[j, i] = _ORDER[order]
    # Of two aromatic atoms the bond is aromatic, unless it links two rings: a link's resistance,
    # every bond being a wire of one ohm, is one.
    wires = (adjacency > 0).astype(float)
    potential = np.linalg.pinv(np.diag(wires.sum(1)) - wires)
    own = np.diag(potential)
    around = own[:, None] + own - 2 * potential < 1 - 1e-6
    adjacency[around & np.logical_and.outer(aromatic, aromatic) & (adjacency == 1)] = 1.5
    return np.array(element, np.int32), adjacency


def source(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> draw.Drawn:
    """Molecules that are drawn when they are asked for, upon the split's own scaffolds.

    Args:
      split: train, validation or test.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of `sample`.

    Returns:
      `draw.Drawn` of dicts.

    MoleculeNet: a benchmark for molecular machine learning (Wu et al., 2018), for such splits.
    """
    count = COUNTS[split] if count is None else count
    return draw.Drawn(sample, split, count, seed, **{'scaffolds': SCAFFOLDS[split]} | knobs)


def dataset(split: str = 'train', **knobs) -> dict[str, np.ndarray]:
    """The molecules of `source` in memory: the columns of `sample`, [N, ...].

    MoleculeNet: a benchmark for molecular machine learning (Wu et al., 2018).
    """
    drawn = source(split, **knobs)
    items = [drawn[i] for i in range(len(drawn))]
    return {name: np.stack([item[name] for item in items]) for name in items[0]}
