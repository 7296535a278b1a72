"""The files of the operator's page, as they are served: no build step, nothing from elsewhere."""
