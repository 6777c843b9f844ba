"""The use cases: what each command does, one promise after the other."""
