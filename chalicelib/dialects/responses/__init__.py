"""OpenAI's Responses, for targets that answer chats.

requests   a Response as a chat                 conversation   the items of its input as a chat's messages
answers    a chat's answer as a Response's      output         what a chat gains, as items of its output
tools      its tools as functions, and back     members        one member of a request, checked
history    what was kept, put before its input
"""
