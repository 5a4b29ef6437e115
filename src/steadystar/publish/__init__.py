"""Catalogs, figures and the report."""
