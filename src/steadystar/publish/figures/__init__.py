"""The figures of the report, a module a subject; each function makes one or a few.

A function takes `Facts` (and the inputs where it needs more) and returns a `Figure`, or
a `Missing` that says why there is none. Nothing is drawn here.
"""

__all__ = ["Section", "overview_sections", "star_figures"]

from steadystar.publish.figures.section import Section
from steadystar.publish.figures.sections import overview_sections
from steadystar.publish.figures.star import star_figures
