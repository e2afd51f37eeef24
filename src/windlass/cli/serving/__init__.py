"""The processes that stay; imported only by the commands that start them."""
