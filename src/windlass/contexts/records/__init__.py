"""Records: taken in, processed once through explicit states, and reported on."""
