"""Bedrock's Converse for callers who send chats: `requests` on the way in, `answers` on the way out."""
