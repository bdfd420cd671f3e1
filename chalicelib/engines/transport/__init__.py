"""What engines over HTTP have in common.

wire_body   the body of an answer: read by one thread or polled by a loop, closed by any
streams     a call's events, made of one
aws_calls   calls of AWS's services that answer in streams
bounds      how much is read, and until when
"""
