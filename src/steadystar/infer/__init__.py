"""From calibrated rows to stars."""
