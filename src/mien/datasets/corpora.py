"""The corpora by name, each imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from mien.datasets.corpus import Corpus

CORPORA = {
    "dfew": "seven expressions in film clips, five rounds",
    "ferv39k": "seven expressions in clips of 22 scenes",
    "mafw": "eleven expressions in film and television clips, five rounds",
    "crema_d": "six acted expressions, with raters' votes",
    "ravdess": "eight acted expressions in speech",
    "enterface05": "six acted expressions",
    "werewolf_xl": "valence, arousal and dominance in group games",
    "avcaffe": "arousal, valence and cognitive load in video calls",
    "first_impressions": "five apparent personality traits",
    "voxceleb2": "unlabelled face clips for pre-training",
    "folder": "any folder of videos; the folder's name is the class",
    "csv": "any table of clips",
}


def find_corpus(name: str) -> Corpus:
    """The corpus of a name; ``ValueError`` lists those there are."""
    if name not in CORPORA:
        raise ValueError(f"no corpus {name!r}; there are {', '.join(CORPORA)}")
    return import_module(f"mien.datasets.{name}").CORPUS
