"""Whether margin covers: portfolio shapes walked forward through history, day by day, against several models.

`shapes` the portfolios; `walk` margin each evening and the loss of the day after; `baselines` models to compare with;
`verdict` the tests of exceptions, procyclicality and cost; `losses` QLIKE, pinball and Diebold-Mariano.
"""
