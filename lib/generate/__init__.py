"""Step 01: prompts to texts."""
