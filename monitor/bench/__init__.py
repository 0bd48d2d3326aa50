"""What the product measures of itself: accuracy on labelled files, speed and memory on this machine."""
