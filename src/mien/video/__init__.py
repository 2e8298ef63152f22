"""From files to clips: frames by index, manifests, splits and leaks, views, augmentation, writing.

Read ``decode.py`` (frames of one file), ``manifest.py`` (which clips) and ``clips.py`` (which frames of a clip). It
imports only the files at the top of the package.
"""
