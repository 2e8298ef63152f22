"""Faces in video: find them, follow them, crop them, keep them. Detectors have a file each in ``detectors/``.

Read ``face.py`` first, which has the nouns, then ``follow.py`` and ``cut.py``. It imports ``video``.
"""
