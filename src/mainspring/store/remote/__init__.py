"""Services whose jobs are run over HTTP, and the jobs that they declare."""
