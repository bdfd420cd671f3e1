"""HTTP/1.1 as we speak it to others: to DynamoDB, to other services of AWS, to servers of models.

    parsing      an answer's bytes in, its head and body out; no I/O
    message      what is sent: a head in one piece              place     where: a URL, taken apart
    connection   one connection to a place, and its deadlines   dialling  a socket there, in time
    answer       one answer: read by one thread or polled by a loop, closed by any
    server       the connections that are kept to one place; whoever asks begins here
    trust        whom to trust that it is there                 failure   every way it goes wrong

    server = Server(Place.of("https://gpu-1.example/v1"), Patience(connect_s=2, silence_s=60), trust.of_the_system)
    answer = server.ask(message.head("POST", "/v1/chat/completions", server.place.host, headers, len(body)), body)
    answer.status, answer.headers["content-type"]
    while piece := answer.next():  # or `poll()`, in a loop that calls `receive()` when `fileno()` can be read
        ...
    answer.close()

What is left out, because nobody needs it: proxies (none is used, whatever the environment names), HTTP/2, cookies,
redirects, compressed bodies, HEAD, bodies of unknown length in requests. docs/decisions/009 tells why it is ours.
"""
