"""The command `cloister`: settings from flags or the environment, one sentence for each thing that is wrong."""
