"""Configuration, stages, ledger, and running them."""
