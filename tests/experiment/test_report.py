"""What a run leaves says what it left out."""

import json

from jssl.data import records
from jssl.experiment import Config, Range
from jssl.experiment.context import Context


def test_a_report_names_the_records_that_were_skipped(tmp_path, capsys):
    ctx = Context(Config(seeds=1), slug='example', title='', preset='smoke', folder=tmp_path)
    ctx.add(method='ours', seed=0, accuracy=0.5)
    line = 'record 2 cannot be read: cut short'
    with records.default_on_error('skip') as lines:
        lines.append(line)
        ctx.report(Range('accuracy', low=0.0))
    assert json.loads((tmp_path / 'report.json').read_text())['skipped'] == [line]
    assert f'1 records skipped, as {line}' in capsys.readouterr().out
