"""What keeps a store well: its schema, weeks of history, retention, copies and checks."""
