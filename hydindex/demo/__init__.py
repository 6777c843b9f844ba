"""`hydindex demo`: nightly updates of a generated library in the stand-in Hydrus client."""
