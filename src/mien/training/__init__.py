"""What the commands that train share: clips in, a run folder out; splits and leaks, first weights, choice of weights.

Read ``fit.py`` first, then ``partition.py`` and ``selection.py``. It imports every room below the commands but
``web`` and ``explanations``.
"""
