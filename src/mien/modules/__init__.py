"""Parts that encoders, objectives and heads share, tensors in and tensors out: layers, positions, masks, heads, pixels.

Read ``layers.py`` first. It imports only the files at the top of the package; nothing here knows files, ranks or
video.
"""
