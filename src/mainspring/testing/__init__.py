"""What the tests of an application need: its jobs without a server, without waiting, and from a seed."""
