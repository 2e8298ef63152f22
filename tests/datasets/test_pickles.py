"""Pickles of Python 2 are read; anything that could run code is refused."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest

from mien.datasets.pickles import read_pickle
from trees import python2_pickle


class Evil:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def refused(path: Path, data: bytes, words: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ValueError, match=words) as caught:
        read_pickle(path)
    assert str(path) in str(caught.value)


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    path = tmp_path / "annotation.pkl"
    path.write_bytes(python2_pickle({"openness": {"caf\xe9.001.mp4": 0.25, "b.mp4": 1.0}, "interview": {"b.mp4": 0.5}}))
    assert read_pickle(path) == {"openness": {"café.001.mp4": 0.25, "b.mp4": 1.0}, "interview": {"b.mp4": 0.5}}


def test_a_text_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    path = tmp_path / "annotation.pkl"
    path.write_bytes(b"(dp0\nS'openness'\np1\n(dp2\nS'a.mp4'\np3\nF0.5\nsS'b.mp4'\np4\nI1\nss.")
    assert read_pickle(path) == {"openness": {"a.mp4": 0.5, "b.mp4": 1}}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_is_refused_in_every_protocol_and_not_run(
    tmp_path: Path, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(tmp_path / "a.pkl", pickle.dumps({"openness": Evil()}, protocol), "refused at byte .*(GLOBAL|system)")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "value", [OrderedDict(a=1), {"a": [1]}, {"a": (1, 2)}, {"a": None}, {"a": {1, 2}}, {"a": b"b"}, {"a": Path("b")}]
)
def test_anything_but_dicts_strings_and_numbers_is_refused(tmp_path: Path, value: object) -> None:
    refused(tmp_path / "a.pkl", pickle.dumps(value, 2), "dicts, strings and numbers only")


def test_truths_and_deeper_dicts_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "a.pkl", pickle.dumps({"a": {"b": True}}, 0), "bool")
    refused(tmp_path / "a.pkl", pickle.dumps({"a": {"b": {}}}, 2), "dict; a pickle may hold")
    refused(tmp_path / "a.pkl", pickle.dumps(0.5, 2), "holds float, not a dict")


def test_broken_files_and_impossible_memory_are_refused(tmp_path: Path) -> None:
    whole = python2_pickle({"openness": {"a.mp4": 0.5}})
    refused(tmp_path / "a.pkl", whole[:-4], "not a readable pickle")
    refused(tmp_path / "a.pkl", b"", "not a readable pickle")
    refused(tmp_path / "a.pkl", b"video,value\na.mp4,0.5\n", "a.pkl")
    refused(tmp_path / "a.pkl", b"\x80\x02}r\xff\xff\xff\x7f.", "beyond the file's size")
