"""`margingate backtest`: reads price files, walks shapes through them on all cores, writes the report.

`study` what is walked, and the walking; `events` how margin rose around market events; `pictures`, `report` the output.
"""
