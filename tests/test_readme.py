"""The README's code runs as it stands, and its commands exist."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]


def test_the_notebook_cell_trains(capsys):
    cell, _zoo = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)
    names = {}
    exec(compile(cell, 'README.md', 'exec'), names)
    assert names['history']['loss'][-1] < names['history']['loss'][0]
    assert float(capsys.readouterr().out.split('(')[-1].split(',')[0].strip(')\n')) > 0.8


def test_commands_are_there_and_can_be_run():
    for name in ('run', 'test', 'ledger', 'environment', 'lock'):
        assert (ROOT / 'tools' / name).stat().st_mode & 0o100
