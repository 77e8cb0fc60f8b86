"""An ENGINE whose password is asked for at each connect, as docs/operations.md has it."""
