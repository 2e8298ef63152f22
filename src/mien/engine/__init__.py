"""Runs any ``Objective`` and knows no video: loop, optimizer, schedules, devices, checkpoints, run folders.

Read ``loop.py`` first, which reads from top to bottom. It imports the files at the top of the package and
``modules``.
"""
