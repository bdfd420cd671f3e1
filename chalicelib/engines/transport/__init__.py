"""What engines over HTTP have in common: bodies that any thread may close, and the streams made of them."""
