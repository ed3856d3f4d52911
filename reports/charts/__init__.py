"""Charts as Vega-Lite specifications: one function a chart, for the page and, with another look, for a paper.

Palettes are Paul Tol's colour-blind-safe ones (personal.sron.nl/~pault); shapes, names beside marks and the
order of stacked parts carry the same distinctions in grey.
"""
