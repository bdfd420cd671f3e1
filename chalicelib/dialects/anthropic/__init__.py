"""Anthropic's Messages, for targets that answer chats.

requests   a Message as a chat          answers   a chat's answer as a Message's
models     pools as a list of models
"""
