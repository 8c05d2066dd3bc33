"""Real networks: brains of mice and of a larva, a department, and three small bodies of facts."""

import numpy as np

from jssl.data import vendored
from jssl.data.readers import SPLITS, check_split, stratified_split

REGIONS = 332
CELLS = {'I': 'input', 'K': 'Kenyon cell', 'O': 'output', 'P': 'projection'}  # of the larva


def mouse_brains(split: str) -> dict[str, np.ndarray]:
    """Fibres between the regions of mouse brains, seen by diffusion MRI.

    Args:
      split: train, validation or test: four, two and two mice of each strain.

    Returns:
      adjacency float32 [N, 332, 332], symmetric, number of fibres to within 9 %, 0 on the diagonal;
      label int32 [N], the strain, and sex int32 [N], as `mouse_regions` names them.

    Variability and Heritability of Mouse Brain Structure (Wang et al., 2020).
    """
    found = vendored.arrays('mice')
    weight = np.exp2(found['weight'].T / np.float32(4)) - 1
    tags = [row.tobytes() for row in found['weight'].T]
    rows = stratified_split(found['strains'], tags, split, shares=(0.5, 0.25, 0.25))
    adjacency = np.zeros((len(rows), REGIONS, REGIONS), np.float32)
    i, j = np.triu_indices(REGIONS, 1)
    adjacency[:, i, j] = adjacency[:, j, i] = weight[rows]
    label, sex = (found[name][rows].astype(np.int32) for name in ('strains', 'sexes'))
    return {'adjacency': adjacency, 'label': label, 'sex': sex}


def mouse_regions() -> dict[str, np.ndarray]:
    """What the regions and labels of `mouse_brains` are.

    Returns:
      label int32 [332], the block of each region; block (object [14]), their names, left and
      right; strain (object [4]) and sex (object [2]), names of the mice's labels.

    Variability and Heritability of Mouse Brain Structure (Wang et al., 2020).
    """
    found = vendored.arrays('mice')
    names = {name: vendored.lines(found[name]) for name in ('block', 'strain', 'sex')}
    return {'label': found['blocks'].astype(np.int32), **names}


def larva_brain() -> dict[str, np.ndarray]:
    """The mushroom body of a fly's larva, left and right: who has synapses onto whom.

    Returns:
      adjacency float32 [2, 213, 213], number of synapses from row to column, left and right; count
      int32 [2], how many neurons a side has, 209 and 213; label int32 [2, 213], of CELLS, -1 after
      the last neuron.

    The Complete Connectome of a Learning and Memory Centre (Eichler et al., 2017).
    """
    found = vendored.arrays('larva')
    sides = [(found[side], found[f'{side}_cell']) for side in ('left', 'right')]
    count = np.array([len(cell) for _, cell in sides], np.int32)
    adjacency = np.zeros((2, max(count), max(count)), np.float32)
    label = np.full((2, max(count)), -1, np.int32)
    for i, (synapses, cell) in enumerate(sides):
        adjacency[i, : len(cell), : len(cell)] = synapses
        label[i, : len(cell)] = [list(CELLS).index(letter) for letter in cell.astype(str)]
    return {'adjacency': adjacency, 'count': count, 'label': label}


def department() -> dict[str, np.ndarray]:
    """Who does what with whom among 61 people of a university department: five layers.

    Returns:
      edges int32 [E, 3], (layer, person, person), each link once; layer (object [5]), their names;
      label int32 [61], the research group, and role int32 [61], -1 where it is not known; group
      and position (object), names of the groups and of the roles.

    Towards Effective Visual Analytics on Multiplex Networks (Rossi and Magnani, 2015).
    """
    found = vendored.arrays('department')
    return {
        'edges': found['edges'].astype(np.int32),
        'layer': vendored.lines(found['layer']),
        'label': found['groups'].astype(np.int32),
        'role': found['roles'].astype(np.int32),
        'group': vendored.lines(found['group']),
        'position': vendored.lines(found['role']),
    }


def umls(split: str) -> dict[str, np.ndarray]:
    """Facts of medicine: 135 concepts, 46 relations.

    Args:
      split: train, validation or test, as they are used in the literature.

    Returns:
      head, relation and tail int32 [N]: two concepts and what the first is to the second, numbered
      as `names` says.

    Statistical Predicate Invention (Kok and Domingos, 2007).
    """
    return _facts('umls', split)


def kinships(split: str) -> dict[str, np.ndarray]:
    """Who is what to whom among 104 people of the Alyawarra: 25 relations. As `umls`."""
    return _facts('kinships', split)


def nations(split: str) -> dict[str, np.ndarray]:
    """What 14 nations did to each other: 55 relations. As `umls`."""
    return _facts('nations', split)


def names(facts: str) -> tuple[np.ndarray, np.ndarray]:
    """Names of the entities and of the relations of 'umls', 'kinships' or 'nations'."""
    found = vendored.arrays('triples')
    return vendored.lines(found[f'{facts}_entity']), vendored.lines(found[f'{facts}_relation'])


def _facts(name, split):
    check_split(split, SPLITS, name)
    triples = vendored.arrays('triples')[f'{name}_{split}'].astype(np.int32)
    return dict(zip(('head', 'relation', 'tail'), triples.T, strict=True))
