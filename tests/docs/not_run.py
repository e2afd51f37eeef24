"""Commands of the documents that no test runs, each with its reason; their syntax is checked all the same."""

NO_DOCKER = "there may be no Docker engine where the tests run; hadolint and the compose schema check the files"

NOT_RUN: dict[str, str] = {}
"""A line of a block, stripped, and why it is left out."""
