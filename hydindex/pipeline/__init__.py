"""The stages of a run, from the search result to the posted pair."""
