"""Features of frozen encoders, kept on disk under a hash of all that decides them, and probes over them.

Read ``frozen.py`` first, then ``cache.py`` and ``probes.py``. It imports ``models`` and what lies below it.
"""
