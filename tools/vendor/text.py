"""Makes the vendored corpora from the running Python and the installed scientific packages.

    python tools/vendor/text.py            all of them; --only stdlib_code for one

stdlib_code.jsonl.gz   functions of the standard library, source split at their docstrings
stdlib_prose.jsonl.gz  its docstrings and the topics of its help, as English texts
stdlib_imports.npz     its modules: who imports whom, the words of their prose
docstrings.jsonl.gz    docstrings of scientific packages, the prose before their parameters
"""

import argparse
import ast
import collections
import importlib.util
import inspect
import platform
import re
import sysconfig
from importlib import metadata
from pathlib import Path

import numpy as np
import snapshot

STDLIB = Path(sysconfig.get_paths()['stdlib'])
TESTS = {'test', 'tests', 'idle_test', 'site-packages', '__pycache__', '__phello__', 'conftest.py'}
# Bytes in tables, tools that left Python since, and drawings: little to read, much alike.
BARE = {'encodings', 'lib2to3', 'distutils', 'ensurepip', 'idlelib', 'turtledemo', 'pydoc_data'}
TEDIOUS = {'tkinter', 'turtle.py', '_pydecimal.py', '_pyio.py'}  # hundreds of small wrappers each
LONGEST = 2500  # characters of a function; longer ones are left out
MOST = 4000  # characters of a text; longer ones are cut
FAMILIES = {
    'network': 'asynchat asyncore cgi cgitb email ftplib http imaplib ipaddress mailbox mailcap '
    'mimetypes netrc nntplib poplib select selectors smtpd smtplib socket socketserver ssl '
    'telnetlib urllib uuid webbrowser wsgiref xmlrpc',
    'text': '_markupbase base64 codecs configparser csv difflib encodings gettext html json locale '
    'plistlib pprint quopri re reprlib shlex sre_compile sre_constants sre_parse string '
    'stringprep textwrap this tomllib uu xml',
    'numbers': '_pydecimal _strptime bisect calendar colorsys datetime decimal fractions heapq '
    'numbers random secrets statistics zoneinfo',
    'concurrency': '_threading_local asyncio concurrent contextvars multiprocessing queue sched '
    'signal subprocess threading',
    'testing': 'bdb cProfile doctest faulthandler logging pdb profile pstats timeit trace '
    'traceback tracemalloc unittest warnings',
    'files': '_compression _pyio aifc bz2 chunk dbm filecmp fileinput fnmatch genericpath glob '
    'gzip imghdr io linecache lzma ntpath nturl2path os pathlib pickle pickletools posixpath '
    'shelve shutil sndhdr sqlite3 stat struct sunau tarfile tempfile wave xdrlib zipapp zipfile',
    'language': '__future__ __hello__ _collections_abc _compat_pickle _py_abc _sitebuiltins '
    '_weakrefset abc antigravity ast code codeop collections compileall contextlib copy copyreg '
    'dataclasses dis enum functools graphlib imp importlib inspect keyword lib2to3 modulefinder '
    'opcode operator pkgutil py_compile pyclbr pydoc pydoc_data runpy symtable tabnanny token '
    'tokenize types typing weakref zipimport',
    'interface': 'argparse cmd curses getopt getpass idlelib optparse rlcompleter tkinter tty '
    'turtle turtledemo',
    'system': '_aix_support _bootsubprocess _osx_support crypt ctypes distutils ensurepip hashlib '
    'hmac pipes platform pty site sysconfig venv',
}
FAMILY = {module: family for family, names in FAMILIES.items() for module in names.split()}
# Other people's packages inside these, under licences of their own.
GUESTS = {'_lib', '_vendored', 'externals', 'clipboard'}
PACKAGES = {  # distribution: (package, SPDX licence, credit)
    'numpy': ('numpy', 'BSD-3-Clause', 'NumPy Developers'),
    'scipy': ('scipy', 'BSD-3-Clause', 'SciPy Developers'),
    'scikit-learn': ('sklearn', 'BSD-3-Clause', 'scikit-learn developers'),
    'scikit-image': ('skimage', 'BSD-3-Clause', 'scikit-image team'),
    'networkx': ('networkx', 'BSD-3-Clause', 'NetworkX Developers'),
    'matplotlib': ('matplotlib', 'PSF-based', 'Matplotlib Development Team'),
    'pandas': ('pandas', 'BSD-3-Clause', 'AQR Capital Management, LLC, PyData Development Team'),
}


def main():
    makers = (stdlib_code, stdlib_prose, stdlib_imports, docstrings)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', choices=[maker.__name__ for maker in makers])
    only = parser.parse_args().only
    for maker in makers:
        if only in (None, maker.__name__):
            maker()


def stdlib_code():
    files = modules(STDLIB, TESTS | BARE | TEDIOUS)
    seen = Seen()
    items = [
        item
        for file in files
        for item in functions(STDLIB, file)
        if len(item['source'].splitlines()) >= (4 if item['lines'][0] < item['lines'][1] else 8)
        if len(item['source']) <= LONGEST and seen.fresh(item['source'], item['file'])
    ]
    snapshot.rows(
        'stdlib_code',
        items,
        maker=__file__,
        sources=[python(files)],
        changes='Functions with a docstring of four lines or more, others of eight, dedented; '
        f'none nested in another or longer than {LONGEST} characters; copies left out; '
        f'without {", ".join(sorted(BARE | TEDIOUS))}.',
    )


def stdlib_prose():
    import pydoc_data.topics

    files = modules(STDLIB, TESTS | {'encodings', '__hello__.py', 'this.py'})
    texts = [
        {'file': f'pydoc_data/topics/{name}', 'name': name, 'family': 'language', 'text': text}
        for name, text in sorted(pydoc_data.topics.topics.items())
    ]
    for file in files:
        for name, text in prose(file):
            path = file.relative_to(STDLIB).as_posix()
            family = FAMILY[package(path)]
            texts.append({'file': path, 'name': name, 'family': family, 'text': text})
    snapshot.rows(
        'stdlib_prose',
        distinct(texts),
        maker=__file__,
        sources=[python([*files, Path(pydoc_data.topics.__file__)])],
        changes='Docstrings of eight words or more, and the help topics, as plain text; copies '
        f'left out; texts cut at the end of the paragraph before character {MOST}.',
    )


def docstrings():
    texts, sources = [], []
    for distribution, (name, licence, credit) in PACKAGES.items():
        root = Path(importlib.util.find_spec(name).origin).parent
        files = modules(root, TESTS | GUESTS)
        for file in files:
            for label, text in prose(file):
                text = re.split(r'\n[A-Z][A-Za-z ]+\n-{3,}', text)[0].strip()
                if len(text.split()) >= 14:
                    path = f'{name}/{file.relative_to(root).as_posix()}'
                    texts.append({'file': path, 'name': label, 'text': text})
        facts = {'licence': licence, 'credit': credit}
        text = snapshot.licence_file(distribution)
        version = metadata.version(distribution)
        record = snapshot.source(distribution, version, files, root, licence_file=text, **facts)
        sources.append(record)
    snapshot.rows(
        'docstrings',
        distinct(texts),
        maker=__file__,
        sources=sources,
        changes='The prose of docstrings before their first section, fourteen words or more; '
        f'copies left out; texts cut at the end of the paragraph before character {MOST}.',
    )


def stdlib_imports():
    files = modules(STDLIB, TESTS | {'encodings'})
    names = [module(file.relative_to(STDLIB).as_posix()) for file in files]
    index = {name: i for i, name in enumerate(names)}
    edges, bags = set(), []
    for i, file in enumerate(files):
        tree = ast.parse(file.read_text(errors='replace'))
        for target in imported(tree, names[i], file.name == '__init__.py'):
            j = index.get(target)
            if j is not None and j != i:
                edges.add((i, j))
        words = ' '.join(text for _, text in prose(file, least=1)).lower()
        comments = ' '.join(re.findall(r'#(.*)', file.read_text(errors='replace'))).lower()
        bags.append(set(re.findall(r'[a-z]{3,}', f'{words} {comments}')))
    # A module's name among another's words would give the edge away.
    forbidden = {part for name in names for part in name.split('.')}
    count = collections.Counter(word for bag in bags for word in bag - forbidden)
    frequent = [word for word, n in count.items() if 8 <= n <= len(files) // 4]
    words = sorted(sorted(frequent, key=lambda word: (-count[word], word))[:1000])
    feature = np.array([[word in bag for word in words] for bag in bags])
    families = sorted(FAMILIES)
    label = [families.index(FAMILY[package(file.relative_to(STDLIB).as_posix())]) for file in files]
    snapshot.arrays(
        'stdlib_imports',
        {
            'module': np.frombuffer('\n'.join(names).encode(), np.uint8),
            'word': np.frombuffer('\n'.join(words).encode(), np.uint8),
            'family': np.frombuffer('\n'.join(families).encode(), np.uint8),
            'feature': np.packbits(feature, axis=1),
            'label': np.array(label, np.uint8),
            'edges': np.array(sorted(edges), np.uint16),
        },
        maker=__file__,
        sources=[python(files)],
        changes='Import statements as edges; words of docstrings and comments as a bag.',
    )


def python(files):
    """Record of this Python."""
    return snapshot.source(
        'python',
        platform.python_version(),
        files,
        STDLIB,
        licence='PSF-2.0',
        credit='Python Software Foundation',
        licence_file=STDLIB / 'LICENSE.txt',
    )


def modules(root, without):
    """Python files below a folder, none of whose parts are left out, in order of their names."""
    found = (file for file in root.rglob('*.py') if not without & set(file.relative_to(root).parts))
    built = ('_sysconfigdata', 'config-')  # differ from machine to machine
    return sorted(f for f in found if not f.relative_to(root).as_posix().startswith(built))


def package(path):
    """First part of a module's name: 'email' of email/mime/text.py."""
    return path.split('/')[0].removesuffix('.py')


def module(path):
    """Dotted name of a file."""
    return path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')


def functions(root, file):
    """Functions of one file that are not inside another function, in order.

    `lines` counts those of the source before the docstring, and those before the body after it;
    the two are equal where there is no docstring.
    """
    text = file.read_text(errors='replace')
    lines = text.splitlines()
    path = file.relative_to(root).as_posix()
    for name, node in definitions(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        start = node.body[0]
        if start.lineno == node.lineno:
            continue
        # Not textwrap.dedent: lines of a string may stand further left than the function.
        indent = lines[first][: node.col_offset]
        source = '\n'.join(line.removeprefix(indent) for line in lines[first : node.end_lineno])
        documented = ast.get_docstring(node) is not None
        before = start.lineno - 1
        after = start.end_lineno if documented else before
        yield {
            'file': path,
            'name': name,
            'source': source,
            'lines': [before - first, after - first],
        }


def definitions(node, prefix=''):
    """(dotted name, node) of classes and functions, not looking inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from definitions(child, f'{prefix}{child.name}.')
        elif not isinstance(child, ast.expr):
            yield from definitions(child, prefix)


def prose(file, least=8):
    """(name, text) of the docstrings of a file that have some words and no long examples."""
    tree = ast.parse(file.read_text(errors='replace'))
    for name, node in [('', tree), *definitions(tree)]:
        text = inspect.cleandoc(ast.get_docstring(node) or '')
        long_enough = len(re.findall(r'[A-Za-z]{2,}', text)) >= least
        # Addresses of package indexes grow old, and say nothing.
        if long_enough and 'pypi' not in f'{name} {text}'.lower():
            yield name, text


def distinct(texts):
    """Texts cut to a length, without those that mostly repeat another file's."""
    seen = Seen()
    for item in texts:
        item['text'] = shortened(item['text'])
    return [item for item in texts if seen.fresh(item['text'], item['file'])]


def shortened(text):
    """Text up to the last paragraph that ends before MOST characters."""
    return text if len(text) <= MOST else text[:MOST].rpartition('\n\n')[0] or text[:MOST]


class Seen:
    """Tells copies: a text is fresh if less than half of its word triples came before."""

    def __init__(self):
        self.triples, self.whole = {}, set()

    def fresh(self, text, file):
        """Whether a text is new; texts of the same file may share triples, but not be equal."""
        key = tuple(re.findall(r'\w+', text.lower()))
        triples = {key[i : i + 3] for i in range(max(1, len(key) - 2))}
        old = sum(self.triples.get(triple, file) != file for triple in triples)
        if key in self.whole or 2 * old >= len(triples):
            return False
        self.whole.add(key)
        for triple in triples:
            self.triples.setdefault(triple, file)
        return True


def imported(tree, name, is_package):
    """Dotted names that a module may import: what it takes from a package may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parts = name.split('.')
                parts = parts[: len(parts) - node.level + is_package]
                base = '.'.join([*parts, *([base] if base else [])])
            yield base
            yield from (f'{base}.{alias.name}' for alias in node.names)


if __name__ == '__main__':
    main()
