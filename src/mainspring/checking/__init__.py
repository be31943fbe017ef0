"""The Definition of Done as rules: what a job has to declare, and what its handler must not do."""
