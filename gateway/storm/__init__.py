"""`margingate storm`: a recorded day told again to a book of simulated accounts, in process, with the real core."""
