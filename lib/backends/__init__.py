"""Language models that write and read."""
