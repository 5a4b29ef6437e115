"""Model spectra and what is learned from them."""
