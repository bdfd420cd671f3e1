"""What engines over HTTP have in common.

http_body   the body of a response: read by one thread, closed by any
streams     a call's events, made of one
"""
