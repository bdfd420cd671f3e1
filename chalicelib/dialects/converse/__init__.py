"""Bedrock's Converse, for callers who send chats.

requests   a chat as a conversation     answers    a conversation's answer as a chat's
members    what becomes of each member, as data    families   what only some models have
messages, images    what a message holds           turns      messages as turns
names      what is called otherwise there
"""
