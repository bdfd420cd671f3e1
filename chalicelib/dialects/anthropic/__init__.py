"""Anthropic's Messages for targets that answer chats: `requests` on the way in, `answers` on the way out."""
