"""Copies of a whole database in one file: made while others write, looked through, and put back."""
