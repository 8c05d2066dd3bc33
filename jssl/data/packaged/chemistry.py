"""Molecules: peptides as sequences; and, with the extra 'chemistry', graphs and geometries."""

import pathlib

import numpy as np

from jssl.data import vendored
from jssl.data.readers import SPLITS, check_split, grouped_split, stratified_split

RESIDUES = 'ACDEFGHIKLMNPQRSTVWY'
TARGETS = ('polar surface', 'log P', 'weight', 'rings', 'donors', 'acceptors')  # of nci
COMMON = 20  # molecules that share a scaffold


def peptides(split: str, *, length: int = 64) -> dict[str, np.ndarray]:
    """Short proteins: does one kill microbes?

    Args:
      split: train, validation or test; peptides with eight residues in a row in common, and what
        they are linked to by others, are in one split.
      length: T; longer ones lose their end.

    Returns:
      tokens int32 [N, T], 1 ... 20 of RESIDUES, 0 after the end; label int32 [N], 1 is
      antimicrobial; text (object [N]), the sequence. Most of the others begin with M,
      as proteins do: cut it off where that must not count.

    modlAMP: Python for Antimicrobial Peptides (Mueller et al., 2017).
    """
    check_split(split, SPLITS, 'peptides')
    found = vendored.arrays('peptides')
    label, text = found['label'].astype(np.int32), vendored.lines(found['sequence'])
    rows = grouped_split(label, [b'%d' % family for family in found['family'].tolist()], split)
    tokens = np.zeros((len(rows), length), np.int32)
    for i, sequence in enumerate(text[rows]):
        tokens[i, : len(sequence)] = [RESIDUES.index(letter) + 1 for letter in sequence[:length]]
    return {'tokens': tokens, 'label': label[rows], 'text': text[rows]}


def nci(split: str, *, atoms: int = 32) -> dict[str, np.ndarray]:
    """Molecules that the National Cancer Institute collected, as graphs and as SMILES.

    Args:
      split: train, validation or test by scaffold, the rings and what links them: those that
        twenty molecules share are for training, of the others each is in one split.
      atoms: V; molecules of more atoms than that are left out, hydrogen not counted.

    Returns:
      adjacency float32 [N, V, V], order of the bond, 1.5 where it is aromatic; atom int32 [N, V],
      atomic number, 0 after the last; target float32 [N, 6], TARGETS; text (object [N]), canonical
      SMILES; scaffold (object [N]), SMILES too, empty without a ring.

    Open Graph Benchmark (Hu et al., 2020), for splits by scaffold.
    """
    from rdkit import Chem, RDConfig, RDLogger  # of the extra
    from rdkit.Chem import Descriptors, rdMolDescriptors
    from rdkit.Chem.Scaffolds import MurckoScaffold

    check_split(split, SPLITS, 'nci')
    lines = (pathlib.Path(RDConfig.RDDataDir) / 'NCI/first_5K.smi').read_text().splitlines()
    RDLogger.DisableLog('rdApp.*')  # eight of them are no molecules to rdkit, which says so
    read = (Chem.MolFromSmiles(line.split()[0]) for line in lines)
    found = {Chem.MolToSmiles(one): one for one in read if one and one.GetNumAtoms() <= atoms}
    RDLogger.EnableLog('rdApp.*')
    text = np.array(list(found), object)
    rings = [MurckoScaffold.MurckoScaffoldSmiles(mol=one) for one in found.values()]
    scaffold = np.array(rings, object)
    group = [ring or smiles for ring, smiles in zip(rings, found, strict=True)]
    _, member, count = np.unique(group, return_inverse=True, return_counts=True)
    rare = np.flatnonzero(count[member] < COMMON)
    tags = [group[i].encode() for i in rare]
    rows = rare[grouped_split(np.zeros(len(rare), int), tags, split)]
    if split == 'train':
        rows = np.append(rows, np.flatnonzero(count[member] >= COMMON))
    adjacency = np.zeros((len(rows), atoms, atoms), np.float32)
    atom, target = np.zeros((len(rows), atoms), np.int32), []
    for i, one in enumerate(found[smiles] for smiles in text[rows]):
        bonds = Chem.GetAdjacencyMatrix(one, useBO=True)
        adjacency[i, : len(bonds), : len(bonds)] = bonds
        atom[i, : len(bonds)] = [each.GetAtomicNum() for each in one.GetAtoms()]
        measures = (
            rdMolDescriptors.CalcTPSA,
            Descriptors.MolLogP,
            Descriptors.MolWt,
            rdMolDescriptors.CalcNumRings,
            rdMolDescriptors.CalcNumHBD,
            rdMolDescriptors.CalcNumHBA,
        )
        target.append([measure(one) for measure in measures])
    return {
        'adjacency': adjacency,
        'atom': atom,
        'target': np.array(target, np.float32),
        'text': text[rows],
        'scaffold': scaffold[rows],
    }


def g2(split: str) -> dict[str, np.ndarray]:
    """Small molecules of known geometry and heat of formation.

    Args:
      split: train, validation or test.

    Returns:
      points float32 [N, 14, 3], in angstrom, around the middle, zero after the last; atom int32
      [N, 14], atomic number, 0 after the last; target float32 [N], enthalpy of formation at 298 K
      in kcal/mol; name (object [N]).

    Assessment of Gaussian-2 and Density Functional Theories (Curtiss et al., 1997).
    """
    from ase.collections import g2 as found  # of the extra
    from ase.data import g2 as table

    check_split(split, SPLITS, 'g2')
    names = np.array([name for name in found.names if table.data[name]['enthalpy'] is not None])
    tags = [name.encode() for name in names]
    names = names[stratified_split(np.zeros(len(names), int), tags, split)]
    most = max(map(len, found))
    points, atom = np.zeros((len(names), most, 3), np.float32), np.zeros((len(names), most), int)
    for i, name in enumerate(names):
        place = found[name].positions
        points[i, : len(place)] = place - place.mean(0)
        atom[i, : len(place)] = found[name].numbers
    return {
        'points': points,
        'atom': atom.astype(np.int32),
        'target': np.array([table.data[name]['enthalpy'] for name in names], np.float32),
        'name': names.astype(object),
    }
