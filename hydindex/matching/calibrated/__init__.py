"""The method `calibrated`: features of a pair, turned into a probability."""
