"""Every set that is here has a contact sheet, with whom to credit on it."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from jssl import data, sets
from jssl.data import sheets

QUICK = True


@pytest.mark.parametrize('name', [name for name in data.SETS if not data.missing(name)])
def test_it_shows_something(name):
    known = data.SETS[name]
    drawn = known.origin == 'drawn'
    columns = data.load(name, next(iter(known.sizes)), **({'count': 8} if drawn else {}))
    rows = len(next(iter(columns.values())))
    columns = {k: v[:8] if len(v) == rows else v for k, v in columns.items()}
    figure = sheets.sheet(columns, title=name, credit=sets.credit(known))
    assert figure.get_suptitle() == name
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=30)
    plt.close(figure)
    assert np.asarray(Image.open(file).convert('L')).std() > 3
