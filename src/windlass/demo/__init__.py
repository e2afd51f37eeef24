"""Small servers that stand in for other people's systems, to try the product with and to test it: no production."""
