"""Numbers about predictions, in NumPy alone: metrics, what each person adds to them, intervals, comparisons of runs.

Read ``predictions.py`` (truth and outputs, a leaf per form of label), then ``metrics.py`` and ``intervals.py``. It
imports only the files at the top of the package.
"""
