"""COCO run-length encoding: by definition, by round trip, and against hostile input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blemish.errors import UsageError
from blemish.images.rle import decode_mask, encode_mask


def written_out(mask):
    """The format's definition, number by number and bit by bit."""
    runs, current = [0], 0
    for value in (mask != 0).T.ravel().tolist():
        if value != current:
            runs.append(0)
            current = value
        runs[-1] += 1
    text = ""
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        while True:
            bits, number = number & 31, number >> 5
            done = number == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


masks = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.sampled_from([0, 0, 255])
)


@given(masks)
@settings(max_examples=200, deadline=None)
def test_round_trip_and_definition(mask):
    rle = encode_mask(mask)
    assert rle == {"size": list(mask.shape), "counts": written_out(mask)}
    decoded = decode_mask(rle)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, mask)


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        ([[0, 0], [0, 0]], "4"),  # one run of 4 zeros
        ([[1, 1], [1, 1]], "04"),  # no zero first, then 4 ones
        ([[0, 1], [0, 1]], "22"),  # columns: 2 zeros, 2 ones
        ([[1, 0], [0, 1]], "0121"[:2] + "21"[:1] + "0"),  # runs 0 1 2 1; the last as its difference to 1
        ([[0] * 20], "d0"),  # 20 = 10100b has the sign bit set: 16 + 4, so 20 + 32 + 48 = 'd', then a group of 0
    ],
)
def test_strings_by_hand(mask, counts):
    assert encode_mask(np.array(mask))["counts"] == counts
    assert np.array_equal(decode_mask({"size": [len(mask), len(mask[0])], "counts": counts}) != 0, np.array(mask) != 0)


def test_a_list_of_run_lengths():
    mask = decode_mask({"size": [2, 3], "counts": [1, 3, 0, 1, 1]})
    assert mask.tolist() == [[0, 255, 255], [255, 255, 0]]


def test_a_falling_run_is_a_negative_difference():
    mask = np.zeros((1, 60), bool)
    mask[0, 2:42] = mask[0, 50:51] = True  # runs 2 40 8 1 9: from the fourth on 1 - 40 = -39, 9 - 8 = 1
    # 40 = 01000b + 32*1 -> 8+32+48='X', 1+48='1'; -39 = 11001b, rest -2 = 11110b -> 25+32+48='i', 30+48='N'
    assert encode_mask(mask)["counts"] == "2X18iN1"
    assert np.array_equal(decode_mask({"size": [1, 60], "counts": b"2X18iN1"}) != 0, mask)


def test_large_mask_and_any_nonzero_value():
    mask = np.zeros((3000, 4000), np.float32)
    mask[100:2900, 200:3900] = 0.5
    rle = encode_mask(mask)
    assert len(rle["counts"]) < 20_000
    assert np.array_equal(decode_mask(rle) == 255, mask > 0)


@pytest.mark.parametrize(
    "rle",
    [
        {},
        {"size": [2, 2]},
        {"size": 4, "counts": "4"},
        {"size": [2], "counts": "4"},
        {"size": [2, 2, 1], "counts": "4"},
        {"size": ["2", "2"], "counts": "4"},
        {"size": [2.0, 2.0], "counts": "4"},
        {"size": [-2, -2], "counts": "4"},
        {"size": [0, 4], "counts": "0"},
        {"size": [2**20, 2**20], "counts": "4"},
        {"size": [10**5000, 1], "counts": "4"},
        {"size": [2, 2], "counts": ""},
        {"size": [2, 2], "counts": None},
        {"size": [2, 2], "counts": []},
        {"size": [2, 2], "counts": [1, 2]},
        {"size": [2, 2], "counts": [1, 4]},
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2, 2], "counts": [1, 3.0]},
        {"size": [2, 2], "counts": [1, "3"]},
        {"size": [2, 2], "counts": [True, 3]},
        {"size": [2, 2], "counts": [4, 10**30]},
        {"size": [2, 2], "counts": [0] * 5 + [4]},
        {"size": [2, 2], "counts": "3"},
        {"size": [2, 2], "counts": "5"},
        {"size": [2, 2], "counts": "1" * 5},
        {"size": [2, 2], "counts": "0" * 1000},
        {"size": [2, 2], "counts": "4 "},
        {"size": [2, 2], "counts": "4\u00e9"},
        {"size": [2, 2], "counts": "P"},  # promises a further group
        {"size": [2, 2], "counts": "o" * 40 + "1"},  # a number of 41 groups
        {"size": [2, 2], "counts": "@"},  # a negative run
        {"size": [2, 2], "counts": "05@"},  # -16 makes the sum no better
        "4",
        None,
    ],
)
def test_hostile_input_is_refused(rle):
    with pytest.raises(UsageError, match="mask"):
        decode_mask(rle)


@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.text(st.characters(min_codepoint=40, max_codepoint=115), max_size=30),
)
@settings(max_examples=300, deadline=None)
def test_decoding_any_string_gives_a_mask_of_that_size_or_an_error(size, counts):
    try:
        mask = decode_mask({"size": list(size), "counts": counts})
    except UsageError:
        return
    assert mask.shape == size
    assert set(np.unique(mask)) <= {0, 255}


def test_a_mask_beyond_the_limit_is_refused():
    with pytest.raises(UsageError):
        encode_mask(np.broadcast_to(np.uint8(0), (2**15, 2**14)))
