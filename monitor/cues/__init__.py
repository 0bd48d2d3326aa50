"""Evidence cues: one file each, pure functions that explain a verdict and never trigger one.

    crops of one person -> a figure a sample -> a value every few samples -> z against this person's own start

`CueReader` runs them all for everybody in the picture; it is the only part with memory.
"""
