"""Sealed calls: the tenant's request is opened by an enclave when its turn comes, and the answer is sealed by it.

    peer       which enclave is trusted, and how we show who we are
    channel    one attested connection to it, one question at a time
    enclave    the connections, kept and replaced
    plaintext  from what was opened to a call, with what the ticket permits in force
    envelope   a sealed request's way in, and its answer's way out

What a sealed request says exists here between its opening and the engine's reading it. The wires are described in
docs/sealed-formats.md.
"""
