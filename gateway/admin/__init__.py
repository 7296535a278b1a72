"""The operator's view: a process beside the gateway that looks without asking, and acts by the control socket."""
