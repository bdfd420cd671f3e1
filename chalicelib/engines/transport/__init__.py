"""What engines over HTTP have in common.

wire_body   the body of an answer: read by one thread or polled by a loop, closed by any
http_body   the same over urllib3, which cannot be polled
streams     a call's events, made of one
bounds      how much is read, and until when
"""
