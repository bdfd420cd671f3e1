"""Everything between HTTP and a surface.

    server       uvicorn as the gateway runs it        protocol     connections that dawdle, vanish or do not end
    entrance     who is taken in, and in which order    visit        what one request holds of its process
    capacity     how much at once, and for whom         turns        waiting, as long as the line moves
    judges       callers whom nobody remembers          bodies       a body as it arrives
    shared_threads  threads of which each tenant has a share
    hops         where a client is, behind proxies     asgi         the types of the interface to it
    bridge       an ASGI application around the app: events in, streams out
    proxy_event  what API Gateway would make of a request
    pipe         from a thread that blocks to a loop that must not
    pump         a stream's pieces, taken in the loop without a thread
    sources      what streams wait for, a few in a turn   doorway      requests, likewise
    rounds       what is done every few seconds
    silence      what a stream carries while its model says nothing
    routing      which template serves a path, and what holds below it
    wrong_paths  what is said where nothing is served
    cross_origin which web pages may call a tenant's routes
    doors        the app, safe for many requests at once, and replies that stream
    route        a door as data                         surface      a blueprint of doors
    route_table  all of them, each opened with the first request for it
    shapes       which shape errors have, below which path
    incoming     a request as a door sees it            credentials  what its caller proves themselves with
    ids          what it is known by                    told         what sight is told of it
    own_pages    pages of ours in a browser: which requests are theirs, and their cookies
    callers      who may come in                        unknown_members  what no type of a body knows
    journalled   doors whose changes stand in the journal
    entering     who joins, signs in and out: there, too
    misfits      what is wrong with a value, in words   strays       what no route has a place for
    asks         from a door to an Ask, the one way     sealed_calls sealed requests, likewise
    instants     times as callers write them            spreadsheet  answers as CSV
    outgoing     an answer on its way out               problems     refusals as callers see them
    openapi      the document of all routes

`stream.sh` starts the bridge where Lambda streams. `browser` holds what `/`, `/docs` and `/problems` send.
"""

SUMMARY = "A private AI endpoint for every tenant on shared GPUs."
"""What all of this is, in a line."""
