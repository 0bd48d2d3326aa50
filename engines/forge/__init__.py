"""Forgeries and nuisances that unmask makes itself: what the detector is trained on, and what the demo shows.

Everything works on one person's clip: images uint8 (T, H, W, 3) RGB and landmarks float32 (T, 478, 2) in
pixels of these images. Parameters are drawn once a clip, from one `numpy.random.Generator`: same seed, same
forgery. A still picture is a clip of one frame.
"""
