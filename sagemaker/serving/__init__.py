"""The inference container: one port, four ways in, one fair line in front of one or more models.

A request is read and bounded (`request`), waits its turn (`queue` decides, `line` waits), runs on an engine
(`engines/`, read by `reply`), and streams back (`answer`). It comes and leaves in an `envelope`: in the clear, or
sealed, and then an enclave opens it at its turn (`sealing/`). Models come and go through the multi-model contract
(`models`). Everything that can be refused is in `refusal`, one line per finished request is written by `journal`, and
`routes` is the table of doors. `python -m serving --help` lists the flags.

This package never imports the gateway: the two agree only on the wire (docs/container.md).
"""
