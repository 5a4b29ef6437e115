"""What flows between the rooms: spectra, tables, flags. No physics here."""
