"""The whole of Cloister on one machine: `python -m local`.

    __main__.py            the command line; answers what is wrong in one sentence
    terminal.py            the banner, and what goes wrong
    layout.py              which containers, endpoints and pools there are
    system.py              what is started, in which order, and when it counts as healthy
    processes.py           starting, watching and stopping processes, so that none is ever left behind
    state.py               the state directory: its lock, its logs, the file `env`
    sealing.py             what lets enclave, container and clients trust each other

    cloud.py               process: the AWS that the gateway sees (moto, KMS, and a SageMaker runtime)
    kms/                     KMS as it judges and answers, also a process by itself
    account.py               who and what is in the account: users, roles, keys
    aws_services.py          moto behind ASGI; DynamoDB one call at a time
    sagemaker_runtime.py     InvokeEndpoint and InvokeEndpointWithResponseStream, forwarded to containers
    endpoints.py             which endpoint is which container
    multi_model.py           TargetModel: load on first use, unload the least recently used
    container.py             one HTTP exchange with a container
    event_stream.py          the framing of a response stream
    enclave.py             process: the enclave's own program
    security_module.py       a simulated security module under it
    gateway.py             process: the gateway under uvicorn
    iam.py                   signatures on the admin surface, as API Gateway checks them
    scheduler.py           process: runs the app's Chalice schedules
    bootstrap.py           process, once: tables, pools, the demo tenant and its keys
    embedding_model.py     process, once per set-up: MiniLM as GGUF

    sockets.py, asgi_server.py, clock.py   what processes are served on and by, and their time

Nothing here ships to AWS.
"""
