"""The config file: its keys, reading it, and where it may expose the access key."""
