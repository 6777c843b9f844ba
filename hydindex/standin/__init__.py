"""A stand-in for a Hydrus client, over real HTTP, for `hydindex demo` and the tests.

It imports nothing from the rest of hydindex. Its knowledge of the Client API comes from recorded
replies, so it can't share a mistake with `hydindex.hydrus`.
"""
