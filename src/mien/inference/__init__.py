"""A model over a whole video, in one pass that takes the same memory for any length: sources, faces, windows, overlap, tables, timeline.

Read ``analyzer.py`` (``mien.load``), then ``pipeline.py``, which joins the stages. It imports ``models``,
``calibration`` and what lies below them.
"""
