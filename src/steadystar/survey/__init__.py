"""From files to spectra and visits, one module a survey."""
