"""Step 03: measures of a text, and contours."""
