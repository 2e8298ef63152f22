"""``mien serve``: a page and its REST interface, one job at a time, uploads, the camera live; private to this machine.

Read ``app.py`` first, then ``queue.py``. ``static/`` is the page, without a build step. It imports ``reports``,
``inference`` and what lies below them.
"""
