"""From a folder to a model and back: the card, weights of other people, views in batches.

Read ``card.py`` first: ``ModelCard`` is the only way from a folder to a model. ``layouts/`` has a file per family of
official weights. It imports the model rooms, ``video``, ``faces`` and ``engine``: here they meet.
"""
