"""The whole of Cloister on one machine: `python -m local`.

    __main__.py            the command line; answers what is wrong in one sentence
    system.py              what is started, in which order, and when it counts as healthy
    processes.py           starting, watching and stopping processes, so that none is ever left behind
    state.py               the state directory: its lock, its logs, the file `env`

    cloud.py               process: the AWS that the gateway sees (moto, and a SageMaker runtime)
    aws_services.py          moto behind ASGI; DynamoDB one call at a time
    sagemaker_runtime.py     InvokeEndpoint and InvokeEndpointWithResponseStream, forwarded to containers
    endpoints.py             which endpoint is which container
    multi_model.py           TargetModel: load on first use, unload the least recently used
    container.py             one HTTP exchange with a container
    event_stream.py          the framing of a response stream
    gateway.py             process: the gateway under uvicorn
    iam.py                   signatures on the admin surface, as API Gateway checks them
    scheduler.py           process: runs the app's Chalice schedules
    bootstrap.py           process, once: tables, pools, the demo tenant and its keys
    embedding_model.py     process, once per set-up: MiniLM as GGUF

Nothing here ships to AWS.
"""
