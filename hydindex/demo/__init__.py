"""A stand-in Hydrus client over real HTTP, and a small generated library to fill it with.

`hydindex demo` and the tests run against these, so neither needs a Hydrus client.
This package imports nothing from the rest of hydindex: what it knows about the Client API
it knows from recorded replies, so a mistake in `hydindex.hydrus` can't hide behind the
same mistake here.
"""
