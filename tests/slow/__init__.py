"""The long form: attacks on every command, run by ``pytest -m slow``. One file per attack, one row per attack.

Read ``tally.py`` first. ``MIEN_RELIABILITY=docs/reliability.md pytest -m slow`` writes the rows into that page.
"""
