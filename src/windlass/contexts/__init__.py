"""The bounded contexts: plain Python over the engine and the tables they own, each entered through its api."""
