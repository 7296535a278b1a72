"""Learned forecasts of volatility and tails, and the contest that they have to win before anything uses them.

`panel` what was known at each bar, and what came; `baselines` the classical forecasts; `boosted` the learned ones;
`contest` walks both forward with an embargo and decides by Diebold and Mariano's test; `drift` watches the one in use;
`regime` tightens in a crash, and never loosens.
"""
