"""What a job author touches: the registry, handlers, their context, and the harness around every run."""
