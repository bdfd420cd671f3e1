"""Anthropic's Messages, for targets that answer chats, and for Anthropic's models at Bedrock.

requests   a Message as a chat          answers   a chat's answer as a Message's
models     pools as a list of models
members    what becomes of members that Anthropic's own service alone has
claude     a Message as Anthropic's models at Bedrock take it
"""
