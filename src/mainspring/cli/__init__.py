"""The command line: serves a node, shows and changes what the store holds, moves the schema."""
