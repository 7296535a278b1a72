"""How much each underlying moves: estimators that learn from bars, one update of which serves every underlying at once.

Everything is an array over underlyings (structure of arrays); what is not known is NaN until somebody asks for one
underlying's value, which is then a number or an `EstimateError` with its reason. Formulas and sources:
docs/margin-models.md.
"""
