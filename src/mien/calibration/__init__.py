"""Outputs that mean what they say: probabilities, sets, intervals, density, limits of reliability, and their files.

Read ``calibration.py`` (what lies beside the weights), then ``maps.py`` (a map per kind of task) and
``calibrated.py`` (what it gives). It imports ``statistics``, ``tasks`` and ``video``.
"""
