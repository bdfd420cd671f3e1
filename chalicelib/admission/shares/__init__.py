"""A tenant whose limits are worth more than one meter has several, its shards, each with a share of every limit.

    arithmetic   what can be divided, and how much of it moves       book    who holds which shares: values
    post         the book's write: pure                              sync    a shard's write: pure
    keeping      the seam behind which they are kept                 store, memory   behind it
    steward      divides, moves shares, bumps all of them, and makes them one again
    spread       which shard a request tries                         seats   what a sandbox remembers of them
    patience     how long a request is held by work at them

No shard is more than a meter with a share for its limits: requests are admitted, renewed, settled and reaped there as
at any other. Why the shares never sum to more than the limits, whatever is written by whomever, is told in `book`, in
docs/admission.md, and in decision 010.
"""
