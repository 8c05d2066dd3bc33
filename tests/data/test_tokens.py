"""Tokens: decoding undoes encoding, merges are the commonest pairs, packing loses nothing."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jssl.data import tokens

TEXTS = [
    'the cat sat on the mat; the rat sat on the cat',
    'def f(x):\n    return x * 10 + f(x - 1)\n',
    'Füße, 東京 and 🦊🦊',
]
PAIRS = tokens.train(TEXTS * 3, 300, special=('end', 'mask'))


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_decoding_undoes_encoding_of_any_string(text):
    for vocabulary in (PAIRS, tokens.bytewise(), tokens.characterwise([text])):
        encoded = tokens.encode(vocabulary, text)
        assert encoded.dtype == np.int32
        assert tokens.decode(vocabulary, encoded) == text


@settings(max_examples=200, deadline=None)
@given(st.binary())
def test_decoding_undoes_encoding_of_any_bytes(content):
    for vocabulary in (PAIRS, tokens.bytewise()):
        encoded = tokens.encode(vocabulary, content)
        assert tokens.decode_bytes(vocabulary, encoded) == content
        assert len(encoded) <= len(content)
    assert b''.join(tokens.PIECES.findall(content)) == content


@pytest.mark.parametrize('text', ['', ' ', '\r\n\t ', '\ud800', '\x00\x1c\x85\u2028', 'a' * 5000])
def test_odd_strings_stay(text):
    back = tokens.decode_bytes(PAIRS, tokens.encode(PAIRS, text))
    assert back.decode(errors='surrogatepass') == text


def slow_merges(texts, count):
    """From the paper: count all pairs anew for each merge."""
    words = [list(p) for text in texts for p in tokens.PIECES.findall(text.encode())]
    merges = []
    for new in range(256, 256 + count):
        pairs = collections.Counter(p for word in words for p in itertools.pairwise(word))
        a, b = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append((a, b))
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == (a, b):
                    word[i : i + 2] = [new]
                i += 1
    return merges, words


def test_merges_are_those_of_the_slow_count():
    merges, words = slow_merges(TEXTS, 40)
    vocabulary = tokens.train(TEXTS, 256 + 40 + 1)
    assert list(vocabulary.merges) == merges
    encoded = np.concatenate(tokens.encode_all(vocabulary, TEXTS))
    assert encoded.tolist() == [token for word in words for token in word]


def test_training_does_not_depend_on_the_order_of_texts():
    assert tokens.train(TEXTS, 290) == tokens.train(TEXTS[::-1], 290)
    assert tokens.train(TEXTS, 280).merges == tokens.train(TEXTS, 290).merges[:-10]


def test_pieces_are_what_their_tokens_say():
    assert PAIRS.size == 300
    assert PAIRS.token('end') == 298
    assert PAIRS.token('mask') == 299
    for token, (a, b) in enumerate(PAIRS.merges, 256):
        assert PAIRS.pieces[token] == PAIRS.pieces[a] + PAIRS.pieces[b]
    assert tokens.decode(PAIRS, [*tokens.encode(PAIRS, 'cat'), 298, 299]) == 'cat'
    assert len(tokens.encode(PAIRS, 'the cat sat')) == 3  # words of the training texts
    assert tokens.decode(PAIRS, [0xE6]) == '\ufffd'


def test_a_vocabulary_ends_where_nothing_is_left_to_merge():
    assert tokens.train(['ab ab'], 1000).pieces[256:] == (b'ab', b' ab')
    assert tokens.train([], 300) == tokens.bytewise()
    with pytest.raises(ValueError, match='at least 257'):
        tokens.train(TEXTS, 256)


def test_characters_are_tokens_in_order():
    vocabulary = tokens.characterwise(['bca', '東'], special=())
    assert vocabulary.size == 4
    assert tokens.encode(vocabulary, 'abc東').tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="no character 'd'"):
        tokens.encode(vocabulary, 'dad')


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1), st.integers(1, 17))
def test_packing_loses_nothing_and_pads_nothing(documents, length):
    columns = tokens.pack([np.array(d, np.int32) for d in documents], length, end=10)
    stream = [token for document in documents for token in [*document, 10]]
    number = [i for i, document in enumerate(documents) for _ in [*document, 10]]
    assert (
        columns['tokens'].shape == columns['document'].shape == (-(-len(stream) // length), length)
    )
    assert columns['tokens'].dtype == columns['document'].dtype == np.int32
    flat, whose = columns['tokens'].ravel(), columns['document'].ravel()
    assert flat[: len(stream)].tolist() == stream
    assert whose[: len(stream)].tolist() == number
    again = len(flat) - len(stream)  # the last row begins the stream anew
    assert again < length
    assert flat[len(stream) :].tolist() == (stream * length)[:again]


def test_packed_texts_can_be_read_back():
    columns = tokens.packed(PAIRS, TEXTS, 16)
    end = PAIRS.token('end')
    for i, text in enumerate(TEXTS[:-1]):
        own = columns['tokens'][columns['document'] == i]
        cut = own[: own.tolist().index(end)]
        assert tokens.decode(PAIRS, cut) == text
    with pytest.raises(ValueError, match='nothing to pack'):
        tokens.packed(PAIRS, [], 16)


def by_rank(piece, rank):
    """From the published table: join the neighbours whose union has the lowest number."""
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 1:
        joined = [rank.get(a + b, len(rank)) for a, b in itertools.pairwise(parts)]
        i = int(np.argmin(joined))
        if joined[i] == len(rank):
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [rank[part] for part in parts]


def test_gpt2_encodes_as_published():
    gpt2 = tokens.gpt2()
    assert gpt2.size == 50257
    assert len(set(gpt2.pieces)) == 50256
    assert gpt2.token('end') == 50256
    encoded = {'Hello, world!': [15496, 11, 995, 0], "don't": [9099, 470], ' the': [262]}
    for text, expected in encoded.items():
        assert tokens.encode(gpt2, text).tolist() == expected
    rank = {piece: t for t, piece in enumerate(gpt2.pieces)}
    texts = [*TEXTS, 'Ⅷ and ½ of 12345_678 — naïve\u00a0 Ωμέγα\n\n  end ']
    for text in texts:
        pieces = [piece.encode() for piece in gpt2.pattern.findall(text)]
        assert b''.join(pieces) == text.encode()
        expected = [token for piece in pieces for token in by_rank(piece, rank)]
        assert tokens.encode(gpt2, text).tolist() == expected
        assert tokens.decode(gpt2, expected) == text
    assert gpt2.pattern.findall("it's ½Ⅷ12 ab_c") == ['it', "'s", ' ½Ⅷ12', ' ab', '_', 'c']
