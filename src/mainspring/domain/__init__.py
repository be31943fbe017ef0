"""Pure data and rules: no input or output, no framework, nothing asynchronous."""
