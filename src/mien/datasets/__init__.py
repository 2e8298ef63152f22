"""Corpora, one file each: labels, folds, where files lie, what became of every clip. ``drawn/`` paints one of our own.

Read ``corpus.py`` first, then any one corpus. It imports ``video``.
"""
