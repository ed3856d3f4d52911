"""Charts as Vega-Lite specifications: one function per chart, drawn with one theme for the page or the paper.

Palettes are Paul Tol's colour-blind-safe ones (personal.sron.nl/~pault); shapes, names beside marks and the
order of stacked parts carry the same distinctions in grey.
"""
