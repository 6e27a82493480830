"""Compressors in a word."""

from __future__ import annotations

import pytest

from fl_ef21.compressors import make
from fl_ef21.compressors.short import named, parse
from fl_ef21.errors import InputError

MODEL = {"dim": 200, "shapes": (("weight", (20, 10)),)}


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("identity", "identity", {}),
        ("sign", "sign", {}),
        ("topk:0.01", "topk", {"fraction": 0.01}),
        ("topk:1e-2", "topk", {"fraction": 0.01}),
        ("topk:78", "topk", {"k": 78}),
        ("randk:k=7,scaled=true", "randk", {"k": 7, "scaled": True}),
        ("qsgd:15", "qsgd", {"levels": 15}),
        ("layer-topk:0.1", "layer-topk", {"fraction": 0.1}),
        ("hard-threshold:0.5", "hard-threshold", {"threshold": 0.5}),
        ("grid:0.01", "grid", {"step": 0.01}),
        ("topk:0.01,values=int8", "topk", {"fraction": 0.01, "values": "int8"}),
        ("topk:k=8,values=int4,scale_block=4", "topk", {"k": 8, "values": "int4", "scale_block": 4}),
        ("randk:0.1,values=qsgd,levels=5", "randk", {"fraction": 0.1, "values": "qsgd", "levels": 5}),
        ("powersgd:2,values=bfloat16", "powersgd", {"rank": 2, "values": "bfloat16"}),
        ("identity:bfloat16", "identity", {"values": "bfloat16"}),
        ("natural:contractive=false", "natural", {"contractive": False}),
    ],
)
def test_a_word_means_what_a_table_would(text, name, options):
    assert parse(text) == (name, options)
    assert named(text, **MODEL) == make(name, **MODEL, **options)


@pytest.mark.parametrize(
    ("text", "field", "told"),
    [
        ("topq:0.01", "compressor", "topk"),
        ("sign:3", "compressor", "name:number"),
        ("topk:0.1,0.2", "compressor", "name:number"),
        ("topk:0.1,fraction=0.2", "fraction", "twice"),
        ("topk:wide=3", "wide", "k, fraction"),
        ("topk:k=many", "k", "whole number"),
        ("topk", "k", "missing"),
        ("topk:0.1,values=int9", "values", "int8"),
        ("topk:0.1,values=int8,levels=3", "levels", "belongs to values = 'qsgd'"),
    ],
)
def test_a_mistake_is_told(text, field, told):
    with pytest.raises(InputError) as caught:
        named(text, **MODEL)
    assert caught.value.field == field
    assert told in str(caught.value)
