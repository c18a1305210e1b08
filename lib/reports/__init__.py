"""What people read: HTML pages, texts side by side, what the paper quotes."""
