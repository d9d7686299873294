"""What people and programs see: blocks of text, the terminal, JSON, and arrays from files and into them."""
