"""No silent corruption: every damaged checkpoint is exact, or named and the one before is used."""

import errno

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import train
from jssl.errors import Refusal
from jssl.train.checkpoints import digests


def init(key):
    return {'w': jax.random.normal(key, (64, 32)), 'count': jnp.zeros((), jnp.int32)}


def step(state, batch, key):
    state = {
        'w': state['w'] * 0.999 + jax.random.normal(key, (64, 32)),
        'count': state['count'] + 1,
    }
    return state, {'norm': jnp.linalg.norm(state['w'])}


def run(folder, steps=9, log=lambda line: None):
    checkpoint = train.Checkpoint(folder, every=3, keep=2)
    return train.fit(step, init, None, steps=steps, checkpoint=checkpoint, log=log, every=1)


def large_files(folder):
    return [p for p in folder.rglob('*') if p.is_file() and p.stat().st_size > 2000]


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << (position % 8)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize('seed', range(6))
def test_a_flipped_bit_is_named_and_the_one_before_is_used(tmp_path, seed):
    expected, history = run(tmp_path)
    rng = np.random.default_rng(seed)
    victims = [p for p in large_files(tmp_path / 'steps' / '9') if '/d/' in str(p)]
    victim = victims[rng.integers(len(victims))]
    flip(victim, int(rng.integers(200, victim.stat().st_size)))
    lines = []
    state, again = run(tmp_path, log=lines.append)
    np.testing.assert_array_equal(state['w'], expected['w'])
    np.testing.assert_array_equal(again['norm'], history['norm'])
    assert any('checkpoint 9' in line and 'damaged' in line for line in lines)
    assert any('resumed at step 6' in line for line in lines)
    assert list((tmp_path / 'damaged').glob('9.*'))


def test_truncated_and_deleted_files(tmp_path):
    expected, _ = run(tmp_path)
    for path in large_files(tmp_path / 'steps' / '9'):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    state, _ = run(tmp_path)
    np.testing.assert_array_equal(state['w'], expected['w'])


def test_damaged_digests_or_meta_are_damage_too(tmp_path):
    expected, _ = run(tmp_path)
    (tmp_path / 'digests' / '9.0.json').write_text('{')
    lines = []
    state, _ = run(tmp_path, log=lines.append)
    np.testing.assert_array_equal(state['w'], expected['w'])
    assert 'checkpoint 9' in lines[0]


def test_all_damaged_is_refused_not_restarted(tmp_path):
    run(tmp_path)
    for name in ('6', '9'):
        (tmp_path / 'digests' / f'{name}.0.json').unlink()
    with pytest.raises(Refusal, match=r'every checkpoint in .* is damaged'):
        run(tmp_path)


def test_another_program_is_refused_and_nothing_is_moved(tmp_path):
    run(tmp_path)
    other = lambda key: {'w': jax.random.normal(key, (64, 33)), 'count': jnp.zeros((), jnp.int32)}
    with pytest.raises(
        Refusal, match=r'holds state/w with shape \[64, 32\], this run has \[64, 33\]'
    ):
        train.fit(step, other, None, steps=9, checkpoint=tmp_path, log=lambda line: None)
    assert sorted(p.name for p in (tmp_path / 'steps').iterdir()) == ['6', '9']


def test_a_full_disk_costs_the_save_not_the_run(tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    real = ocp.CheckpointManager.save

    def full(self, number, *args, **kwargs):
        if number == 3:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return real(self, number, *args, **kwargs)

    monkeypatch.setattr(ocp.CheckpointManager, 'save', full)
    lines = []
    state, _ = run(tmp_path, log=lines.append)
    assert int(state['count']) == 9
    assert any('could not save step 3' in line and 'No space' in line for line in lines)
    assert sorted(p.name for p in (tmp_path / 'steps').iterdir()) == ['6', '9']


def test_killed_saves_leave_no_folder_behind(tmp_path):
    run(tmp_path, steps=3)
    leftover = tmp_path / 'steps' / '6.orbax-checkpoint-tmp-1'
    (leftover / 'deep').mkdir(parents=True)
    (leftover / 'deep' / 'file').write_text('half')
    run(tmp_path, steps=9)
    assert not leftover.exists()


def test_digests_see_every_leaf_and_every_bit():
    tree = {'a': np.arange(5.0), 'b': (jnp.zeros((2, 3), jnp.bfloat16), jax.random.key(0))}
    before = digests(tree)
    assert set(before) == {'a', 'b/0', 'b/1'}
    tree['b'] = (tree['b'][0].at[1, 2].set(1e-3), tree['b'][1])
    after = digests(tree)
    assert [k for k in before if before[k] != after[k]] == ['b/0']


def test_continues_on_another_number_of_devices(tmp_path, devices):
    whole, _ = train.fit(step, init, None, steps=9, progress=False)
    checkpoint = train.Checkpoint(tmp_path, every=3)
    options = {'checkpoint': checkpoint, 'log': lambda line: None}
    train.fit(step, init, None, steps=6, mesh='data:2,fsdp:4', **options)
    one = train.make_mesh('data:1', devices[:1])
    state, _ = train.fit(step, init, None, steps=9, mesh=one, **options)
    np.testing.assert_array_equal(state['w'], whole['w'])
