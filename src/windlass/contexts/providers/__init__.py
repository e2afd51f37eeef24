"""Companies that register as candidates, and become providers once an administrator approves them."""
