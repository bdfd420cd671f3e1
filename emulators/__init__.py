"""What stands in for AWS on one machine. Unmodified clients of AWS talk to it, and nothing here ships to AWS.

Rooms: each is one service.

    bedrock/              models in their providers' own shapes, faults on command; also a program by itself
    cognito/              user pools: tokens, a sign-in page, wrong claims and other keys on command
    dynamodb/             tables in a file, under moto's rules
    iam/                  who signed a request, and what their policies say
    kms/                  keys as KMS judges and uses them; also a program by itself
    ses/                  mails, delivered to a folder
    sagemaker_runtime/    both invocations of an endpoint, forwarded to containers

    aws_services.py       every other service: moto behind ASGI, DynamoDB one call at a time
    keeping.py            what was made in the account, kept beside the tables
    security_module.py    the Nitro security module, under a root certificate of its own

Leaves, which every room and the processes of `local` use:

    asgi.py               what an ASGI application is
    server.py             serves one on a socket, and says when it can be called
    sockets.py            ports that are never raced for
    http_exchange.py      one HTTP exchange with another process, read as it arrives
    event_stream.py       the framing of AWS's streamed answers, the writing half
    clock.py              the time

Nothing of `chalicelib` or `local` is imported: what is said here of AWS never follows from what the gateway believes.
Of ours only `sealed` is, since the local KMS verifies attestation documents as everybody does, and the protocol
`enclave.security_module`, which the simulated module implements: its exception is part of it.

How to add one stands in CONTRIBUTING.
"""
