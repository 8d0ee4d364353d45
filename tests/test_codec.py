"""The strict JSON codec: what is written can be read, and nothing else can."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.files.codec import (
    CodecError,
    canonical_json,
    compact_json,
    decode,
    encode,
    parse_json,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))


class Fruit(StrEnum):
    PEAR = "pear"
    PLUM = "plum"


@dataclass(frozen=True, slots=True)
class Inner:
    fruit: Fruit
    pair: tuple[int, float]


@dataclass(frozen=True, slots=True)
class Outer:
    text: str
    number: float
    count: int
    flag: bool
    kind: Literal["a", "b"]
    maybe: Inner | None
    inners: tuple[Inner, ...]
    table: Mapping[str, float | tuple[float, ...]]

    def __post_init__(self) -> None:
        if self.count < -1000:
            raise ValueError(f"count {self.count} is too low")


inner = st.builds(Inner, st.sampled_from(Fruit), st.tuples(st.integers(), finite))
outer = st.builds(
    Outer,
    texts,
    finite,
    st.integers(min_value=-1000),
    st.booleans(),
    st.sampled_from(["a", "b"]),
    st.none() | inner,
    st.lists(inner, max_size=3).map(tuple),
    st.dictionaries(texts, finite | st.lists(finite, max_size=3).map(tuple), max_size=3),
)
EXAMPLE = Outer("t", 1.5, 2, True, "a", None, (Inner(Fruit.PEAR, (1, 2.0)),), {"k": 1.0})


@given(outer)
def test_round_trip(value: Outer) -> None:
    content = canonical_json(value)
    assert decode(Outer, parse_json(content)) == value
    assert canonical_json(decode(Outer, parse_json(content))) == content
    assert decode(Outer, parse_json(compact_json(value).encode())) == value
    assert "\n" not in compact_json(value)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("text", 1, "text"),
        ("number", "1", "number"),
        ("number", True, "number"),
        ("number", 10**400, "number"),
        ("count", 1.0, "count"),
        ("count", True, "count"),
        ("count", -2000, "too low"),
        ("flag", 1, "flag"),
        ("kind", "c", "kind"),
        ("maybe", [], "maybe"),
        ("maybe", {"fruit": "kiwi", "pair": [1, 2]}, "maybe.fruit"),
        ("inners", [{"fruit": "pear", "pair": [1, 2, 3]}], "inners[0].pair"),
        ("inners", [{"fruit": "pear"}], "inners[0].pair"),
        ("inners", {}, "inners"),
        ("table", {"k": "x"}, "table.k"),
        ("table", [], "table"),
    ],
)
def test_a_value_of_another_kind_is_an_error_with_its_place(
    key: str, value: object, place: str
) -> None:
    document = encode(EXAMPLE)
    assert isinstance(document, dict)
    with pytest.raises(CodecError) as caught:
        decode(Outer, document | {key: value})
    assert place in str(caught.value)


def test_whole_numbers_stand_for_floats() -> None:
    document = encode(EXAMPLE)
    assert isinstance(document, dict)
    number = decode(Outer, document | {"number": 3}).number
    assert number == 3.0
    assert isinstance(number, float)


def test_unknown_and_missing_keys_are_errors() -> None:
    document = encode(EXAMPLE)
    assert isinstance(document, dict)
    with pytest.raises(CodecError, match="extra: unknown key"):
        decode(Outer, document | {"extra": 1})
    for key in list(document):
        shortened = {name: value for name, value in document.items() if name != key}
        with pytest.raises(CodecError, match=f"{key}: missing key"):
            decode(Outer, shortened)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 1}',
        b"[" * 100_000,
        b"1" * 5000,  # Python refuses to convert more than 4,300 digits
    ],
)
def test_what_is_no_json_is_an_error(content: bytes) -> None:
    with pytest.raises(CodecError):
        parse_json(content)
