"""The SageMaker runtime: both invocations, forwarded to containers as SageMaker forwards them.

endpoints      which endpoint is which container
multi_model    TargetModel: load on first use, unload the least recently used
asgi           the application
"""
