"""Commands of people and programs: permission, change, audit and signal, in one transaction."""
