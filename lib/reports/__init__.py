"""What people read: HTML pages, texts side by side, what the paper quotes."""

# Engines declare what their weights are; once they are imported, a params file may name any of them.
from lib.backends import engines as engines
