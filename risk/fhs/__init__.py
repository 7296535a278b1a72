"""Filtered historical simulation: days of the past, in units of the volatility of their day, at today's volatility.

`factors` what moves, a row a day; `filtered` devolatilised days and the scenario sets made of them; `measures`
value at risk and expected shortfall over weighted scenarios; `procyclicality` what keeps requirements from jumping;
`underlying` the factors of one underlying's bars; `limits` haircuts and collars by the same engine.
"""
