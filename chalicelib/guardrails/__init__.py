"""What a tenant's rules do to its calls: prompts are judged before anything is charged, answers as they leave.

    refusals  what a rule forbids, as a refusal of ours        streams   an engine's answer, judged on its way
    sealed    a sealed one, judged where it is sealed
    second    both, before a second stage as well           stage     who is asked, about which texts at once
    windows   a text that grows, before it

Rules, and what they do to requests and answers, are `guard`'s. Loaded for tenants that have some. A fault in there ends
the request, and nothing of what was to be judged is sent.
"""
