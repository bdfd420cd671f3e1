"""The enclave's program: it opens sealed requests and seals their answers, and nothing else ever does.

    program              puts everything together and serves until SIGTERM
    listener, server          where containers come in: one thread and one TLS connection each
    connection, conversation  frames with deadlines; what may be said when
    exchanges, questions      what is asked: open and seal, mode by mode; everything that is not an exchange
    judged                    the same, where a tenant has rules of what may not be said
    attested_kms, epochs      KMS, which answers to this very enclave only; the keys of mode hpke
    replays                   what was opened once is never opened again
    security_module           who the enclave is; identity: the TLS certificate that its document vouches for
    forwarder                 the way out of an enclave on EC2, which has no network
    configuration             what an image is told; journal: one line for each thing worth knowing
    refusal                   every way it says no

What it needs of the other programs is in `sealed` and `guard`. docs/enclave.md says how it is built, run and trusted.
"""
