"""steadystar."""
