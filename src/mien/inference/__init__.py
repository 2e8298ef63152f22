"""A model over a whole video, in one pass and constant memory: sources, faces, windows, overlap, tables, timeline.

Read ``analyzer.py`` (``mien.load``), then ``pipeline.py``, which joins the stages. It imports ``models``,
``calibration`` and what lies below them.
"""
