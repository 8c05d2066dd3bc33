"""Real English and real Python: frozen snapshots of the standard library and of its neighbours.

Files are split, never the texts of one file, and the makers have left out copies between files;
splits are alike in every class. Texts of one file stand together, in the order of the file.
"""

import ast
import inspect

import numpy as np

from jssl.data import vendored
from jssl.data.readers import SPLITS, check_split, stratified_split

FAMILIES = (
    'concurrency',
    'files',
    'interface',
    'language',
    'network',
    'numbers',
    'system',
    'testing',
    'text',
)
KEYWORDS = {  # of the six families that differ most in what they speak of
    'concurrency': ('thread', 'lock', 'task', 'queue', 'process', 'coroutine'),
    'files': ('file', 'directory', 'archive', 'path', 'compressed', 'stream'),
    'network': ('socket', 'server', 'http', 'url', 'message', 'address'),
    'numbers': ('date', 'time', 'decimal', 'number', 'random', 'calendar'),
    'testing': ('test', 'assert', 'debugger', 'breakpoint', 'mock', 'traceback'),
    'text': ('string', 'text', 'xml', 'pattern', 'character', 'encoding'),
}
LIBRARIES = ('matplotlib', 'networkx', 'numpy', 'pandas', 'scipy', 'skimage', 'sklearn')


def stdlib_code(split: str) -> dict[str, np.ndarray]:
    """Functions of Python's standard library, whole and in parts.

        text = signature + docstring as written + body

    Tests, tables and long functions are not among them; some six in ten have a docstring. A
    project, as opposed to the rest, is a package: `columns['package'] == 'email'`.

    Args:
      split: train, validation or test, by file, in every package of ten files or more.

    Returns:
      Strings (object [N]): text; signature, all before the docstring or the first statement;
      docstring, cleaned, empty where there is none; body; name, dotted; file; package. And label
      int32 [N], the package's place among all packages in order of name.

    CodeSearchNet (Husain et al., 2019), for functions paired with their documentation.
    """
    items = vendored.rows('stdlib_code')
    package = [_package(item['file']) for item in items]
    label = np.unique(package, return_inverse=True)[1]
    parts = [_parts(item['source'], item['lines']) for item in items]
    signature, docstring, body = zip(*parts, strict=True)
    columns = {'text': [item['source'] for item in items], **_strings(items, 'name', 'file')}
    columns |= {'signature': signature, 'docstring': docstring, 'body': body, 'package': package}
    return _split(columns, label, split)


def stdlib_prose(split: str) -> dict[str, np.ndarray]:
    """Docstrings of Python's standard library and the articles of its help, by family of modules.

    Args:
      split: train, validation or test, by file, in every family.

    Returns:
      Strings (object [N]): text; name of what it documents, empty for a module; file; package. And
      label int32 [N], a place in FAMILIES; KEYWORDS has words that describe six of them.

    Lbl2Vec (Schopf et al., 2021), for documents whose classes are told by keywords.
    """
    items = vendored.rows('stdlib_prose')
    label = [FAMILIES.index(item['family']) for item in items]
    columns = _strings(items, 'text', 'name', 'file')
    columns['package'] = [_package(item['file']) for item in items]
    return _split(columns, label, split)


def docstrings(split: str) -> dict[str, np.ndarray]:
    """Docstrings of seven scientific packages, down to their first section, by package.

    Args:
      split: train, validation or test, by file, in every package.

    Returns:
      Strings (object [N]): text; name of what it documents, empty for a module; file; package. And
      label int32 [N], a place in LIBRARIES.

    Documentation of NumPy, SciPy, scikit-learn, scikit-image, NetworkX, Matplotlib and pandas.
    """
    items = vendored.rows('docstrings')
    columns = _strings(items, 'text', 'name', 'file')
    columns['package'] = [_package(item['file']) for item in items]
    label = [LIBRARIES.index(package) for package in columns['package']]
    return _split(columns, label, split)


def stdlib_imports(split: str) -> dict[str, np.ndarray]:
    """Modules of the standard library as nodes of `import_graph`, of which a split is labelled.

    Args:
      split: train, validation or test, in every family.

    Returns:
      node int32 [N], rows of the graph; and of these its feature, label and name.

    Planetoid (Yang et al., 2016), for labelled nodes of a graph that is seen whole.
    """
    check_split(split, SPLITS, 'stdlib_imports')
    graph = import_graph()
    tags = [name.encode() for name in graph['name']]
    node = stratified_split(graph['label'], tags, split)
    columns = {name: graph[name][node] for name in ('feature', 'label', 'name')}
    return {'node': node.astype(np.int32), **columns}


def import_graph() -> dict[str, np.ndarray]:
    """Who imports whom in Python's standard library, with the words of each module's prose.

    Returns:
      edges int32 [E, 2], (importing, imported); feature bool [M, F], which words a module's
      docstrings and comments use, names of modules left out; word (object [F]); label int32 [M], a
      place in FAMILIES; name (object [M]), dotted.

    Planetoid (Yang et al., 2016), whose Cora has this form.
    """
    found = vendored.arrays('stdlib_imports')
    word = vendored.lines(found['word'])
    return {
        'edges': found['edges'].astype(np.int32),
        'feature': np.unpackbits(found['feature'], axis=1, count=len(word)).astype(bool),
        'word': word,
        'label': found['label'].astype(np.int32),
        'name': vendored.lines(found['module']),
    }


def _strings(items, *names):
    return {name: [item[name] for item in items] for name in names}


def _package(file):
    return file.split('/')[0].removesuffix('.py')


def _parts(source, lines):
    """(signature, docstring, body) of a function, cut before and after the docstring."""
    before, after = lines
    parts = source.split('\n')
    written = '\n'.join(parts[before:after]).strip()
    docstring = inspect.cleandoc(ast.literal_eval(written)) if written else ''
    return '\n'.join(parts[:before]), docstring, '\n'.join(parts[after:])


def _split(columns, label, split):
    """Rows of the files that belong to a split; a file has the class of its first row."""
    check_split(split, SPLITS, 'this set')
    label = np.array(label, np.int32)
    file, first, member = np.unique(columns['file'], return_index=True, return_inverse=True)
    group = label[first]
    # Classes of few files are cut as one, or they would all be for training.
    group = np.where(np.bincount(group)[group] < 10, -1, group)
    chosen = stratified_split(group, [name.encode() for name in file], split)
    rows = np.concatenate([np.flatnonzero(member == f) for f in chosen])
    columns = {name: np.array(column, object)[rows] for name, column in columns.items()}
    return {**columns, 'label': label[rows]}
