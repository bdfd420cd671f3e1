"""`python -m serving.engines.llamacpp_child SOCKET PARAMETERS`: one GGUF model behind llama.cpp's own HTTP server.

Run by `llamacpp`, never by hand. Ends when its standard input does.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec

BATCH = 512  # tokens of prompts that a turn of its loop reads at most, which all others wait for


class Parameters(msgspec.Struct, frozen=True):
    path: str
    name: str
    slots: int
    context: int  # tokens per slot
    threads: int
    embedding: bool
    pooled: bool  # the file says how vectors of tokens become one of the text
    prompt_cache: bool


def main(socket: str, parameters: Parameters) -> int:
    import xllamacpp  # here, for the container itself imports this file and has no use for 100 MB of library

    params = xllamacpp.CommonParams()
    params.model.path = parameters.path
    params.model_alias = {parameters.name}
    params.hostnames = [socket]
    params.n_parallel = parameters.slots
    params.n_ctx = parameters.slots * parameters.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = parameters.threads
    params.embedding = parameters.embedding
    params.n_batch = params.n_ubatch = BATCH
    if parameters.embedding:  # an input must fit into one micro-batch
        params.n_batch = params.n_ubatch = max(BATCH, parameters.context)
        if not parameters.pooled:
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cache_prompt = parameters.prompt_cache
    params.cache_ram_mib = 0  # finished prompts are not kept: memory is counted, and they are tenants' words
    params.cache_idle_slots = False
    # One thread per slot and one for its predecessor, whose caller has left: no more calls come (see `llamacpp`). And
    # some for health checks and pulses.
    params.n_threads_http = 2 * parameters.slots + 4
    params.endpoint_metrics = True  # answered between two turns of its loop
    params.endpoint_slots = False  # it would show what others asked
    params.ui = False
    params.verbosity = -1
    params.sse_ping_interval = -1
    params.fit_params = False
    params.offline = True
    try:
        server = xllamacpp.Server(params)  # noqa: F841  it serves for as long as somebody holds it
    except RuntimeError:
        return 1  # it says no more than that it failed; the container finds better words
    # It prints what it cannot parse, and those are a caller's words, which no log may hold.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # llama.cpp has put its own handlers in place, which let requests finish; we have already seen to that.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while os.read(0, 4096):
        pass
    # The container has gone without ending us, so nobody else clears this up.
    shutil.rmtree(Path(socket).parent, ignore_errors=True)
    # At once: llama.cpp's own way out was seen to wait for ever, and the kernel frees memory just as well.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], msgspec.json.decode(sys.argv[2], type=Parameters)))
