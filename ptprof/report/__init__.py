"""Tables for the terminal and figures, from records."""
