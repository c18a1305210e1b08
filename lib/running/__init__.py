"""What a command does."""

# Engines declare what their weights are; once they are imported, a params file may name any of them.
from lib.backends import engines as engines
