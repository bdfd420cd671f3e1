"""Bedrock's Converse, for callers who send chats, and for those who send it themselves.

requests   a chat as a conversation     answers    a conversation's answer as a chat's
members    what becomes of each member, as data    turns      messages as turns
messages, images    what a message holds
verbatim   both as they are
"""
