"""Invented truth, and the files a survey would have written of it."""
