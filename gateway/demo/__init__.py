"""The demo: a simulated venue, the gateway and trading clients as processes, and a screen to watch them."""
