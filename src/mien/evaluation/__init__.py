"""What an evaluation consists of: metrics with intervals and subgroups, runs on disk, protocols, published results.

Read ``results.py`` first. How it is shown is a matter of ``reports``. It imports ``statistics``, ``tasks`` and
``video``.
"""
