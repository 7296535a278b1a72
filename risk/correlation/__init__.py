"""How underlyings move together: EWMA covariance, DCC, Ledoit-Wolf shrinkage, and the stress to the worse end.

Every matrix that leaves here is positive semi-definite to rounding. Formulas and sources: docs/margin-models.md.
"""
