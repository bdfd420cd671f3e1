"""The whole of Cloister on one machine: `python -m local`.

    __main__.py            the command line; answers what is wrong in one sentence
    terminal.py            the banner, and what goes wrong
    installation.py        what `make` installs with: pip, and how far it is
    port.py                the gateway's port, or why it cannot be had
    layout.py              which containers, endpoints and pools there are
    system.py              what is started, in which order, and when it counts as healthy
    environment.py         what each process finds in its environment
    supervisor.py          starting again what ends, and when that is no use any more
    processes.py           starting and stopping processes, so that none is ever left behind
    state.py               the state directory: its lock, its logs, the file `env`
    sealing.py             what lets enclave, container and clients trust each other

    cloud.py               process: the AWS that the gateway sees, put together from `emulators`
    account.py               who and what is in its account: users, policies, keys
    user_pool.py             where its people sign in, and by which clients
    enclave.py             process: the enclave's own program on a simulated security module
    gateway.py             process: the gateway under uvicorn
    request_lines.py       a line on the terminal for each request
    authoriser.py            who signed a request, said to the gateway in its own words
    scheduler.py           process: runs the app's Chalice schedules
    bootstrap.py           process, once: tables, pools, the demo tenant, its keys and people
    embedding_model.py     process, once per set-up: MiniLM as GGUF

    bedrock.py, kms.py     `python -m local.bedrock` and `python -m local.kms`: programs of `emulators`

What stands in for AWS is in `emulators`. Nothing here ships to AWS.
"""
