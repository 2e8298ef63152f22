"""When and where a model looks in a video: maps from occlusion, attention and reconstruction, and checks of them.

Read ``explanation.py`` first, then ``checks.py``. It imports ``reports``, ``inference``, ``models`` and what lies
below them.
"""
