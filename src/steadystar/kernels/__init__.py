"""Pure array functions for one spectrum; a batch is vmap.

Nothing here knows of files, tables or configuration, and nothing here prints. Wavelengths
arrive as positions on a logarithmic grid, split into an integer and a small fraction, so
that float32 is exact enough (`spline`).
"""
