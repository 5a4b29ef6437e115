"""From spectra to one row a spectrum."""
