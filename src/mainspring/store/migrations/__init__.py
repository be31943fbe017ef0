"""The versions of the schema, forward and back."""
