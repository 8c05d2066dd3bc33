"""The style guide as assertions: every public function of every room, every import, every name."""

import ast
import importlib
import inspect
import pathlib
import re

import flax.linen as nn
import pytest

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = ('losses', 'models', 'algorithms', 'signal', 'data', 'train', 'evaluate', 'zoo')
# A room may import those to its right; nothing imports upwards (DESIGN: arrows run one way).
BELOW = {
    'losses': {'algorithms'},
    'algorithms': set(),
    'signal': {'losses', 'algorithms'},
    'models': {'losses', 'algorithms'},
    'data': {'losses', 'algorithms'},
    'train': {'models', 'data', 'losses', 'algorithms'},
    'evaluate': {'models', 'data', 'losses', 'algorithms', 'train'},
    'zoo': {'models', 'data', 'losses', 'algorithms', 'signal', 'train', 'evaluate'},
    'experiment': {'models', 'data', 'losses', 'algorithms', 'train', 'evaluate', 'zoo'},
}
REFERENCE = re.compile(r'\([^()]*\b(19|20)\d\d[^()]*\)', re.DOTALL)
SOURCES = sorted((ROOT / 'jssl').rglob('*.py'))


def public(room):
    module = importlib.import_module(f'jssl.{room}')
    names = getattr(module, '__all__', None) or [n for n in dir(module) if n[0] != '_']
    items = [(name, getattr(module, name)) for name in names]
    return [(name, item) for name, item in items if not inspect.ismodule(item)]


def functions(*rooms):
    found = [
        pytest.param(function, id=f'{room}.{name}')
        for room in rooms
        for name, function in public(room)
        if inspect.isfunction(function)
    ]
    assert found
    return found


@pytest.mark.parametrize('function', functions(*ROOMS))
def test_documented_with_key_first_and_options_by_keyword(function):
    assert inspect.getdoc(function), 'no docstring'
    parameters = list(inspect.signature(function).parameters.values())
    names = [p.name for p in parameters]
    assert 'rng' not in names, 'call it key'
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    if 'key' in [p.name for p in positional]:
        assert positional[0].name == 'key', 'key comes first'


@pytest.mark.parametrize('function', functions('losses'))
def test_losses_cite_their_paper_and_take_options_by_keyword(function):
    assert REFERENCE.search(inspect.getdoc(function)), 'no reference (Author et al., year)'
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            assert parameter.kind is parameter.KEYWORD_ONLY, (
                f'{parameter.name} must be keyword-only'
            )


@pytest.mark.parametrize('room', ROOMS)
def test_every_public_name_is_tested(room):
    text = '\n'.join(p.read_text() for p in (ROOT / 'tests').rglob('*.py'))
    # Containers of results are tested with the functions that fill them.
    container = lambda item: inspect.isclass(item) and not issubclass(item, nn.Module)
    names = [name for name, item in public(room) if not container(item)]
    assert not [name for name in names if not re.search(rf'\b{name}\b', text)]


@pytest.mark.parametrize('path', SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_run_one_way(path):
    room = path.relative_to(ROOT / 'jssl').parts[0].removesuffix('.py')
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.ImportFrom):
            modules = [f'{node.module}.{a.name}' for a in node.names]
        elif isinstance(node, ast.Import):
            modules = [a.name for a in node.names]
        for module in modules:
            parts = module.split('.')
            assert parts[0] != 'experiments'
            if parts[0] == 'jssl' and room in BELOW and len(parts) > 1:
                assert parts[1] in BELOW[room] | {room, 'errors', 'sets'}, (
                    f'{room} imports {module}'
                )
            if room in ('losses', 'algorithms'):
                assert parts[0] not in ('flax', 'orbax', 'grain')


def test_nothing_is_named_for_nothing():
    for path in [*SOURCES, *(ROOT / 'experiments').rglob('*.py')]:
        assert path.stem not in ('utils', 'util', 'misc', 'common', 'helpers')


@pytest.mark.parametrize('path', SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_executable_is_read_from_data(path):
    text = path.read_text()
    for forbidden in ('import pickle', 'yaml.load(', 'extractall', 'shell=True'):
        assert forbidden not in text
    assert 'allow_pickle=True' not in text
    calls = {
        n.func.id
        for n in ast.walk(ast.parse(text))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert not calls & {'eval', 'exec', '__import__'}
