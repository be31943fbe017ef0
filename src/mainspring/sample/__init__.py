"""The application that `mainspring demo` runs: real flights, and made-up quotes."""
