"""One ``Config`` and one ``run(config)`` per command: the only place where every room meets.

Read ``evaluate.py`` or ``finetune.py`` first. It may import every room; nothing imports it but the command line, by
name.
"""
