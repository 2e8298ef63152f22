"""Faces in video: find them, follow them, crop them. ``face.py`` has the nouns."""
