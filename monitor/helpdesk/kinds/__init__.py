"""One file a kind of challenge: what it needs of the picture, and how the movement is found in it."""
