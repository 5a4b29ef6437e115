"""From files to spectra and visits, one module a survey.

`registry.read` reads any file of spectra, `shards` keeps them as Parquet, `catalogs`
reads tables of velocities that others published.
"""
