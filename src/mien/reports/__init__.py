"""For people: figures by kind, pages, pictures and films of timelines, comparisons with published results.

Read ``plots.py`` and ``document.py`` first. Numbers come from ``evaluation``, ``calibration`` and ``inference``,
which it imports; nothing is measured here that is not shown.
"""
