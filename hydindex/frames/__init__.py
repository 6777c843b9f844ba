"""Sample frames of videos and compare them."""
