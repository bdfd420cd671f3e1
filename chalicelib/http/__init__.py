"""Everything between HTTP and a surface."""
