"""From rows to corrections."""
