"""The clients, each with the program that shows it and the errors that are its own."""

from typing import NamedTuple


class Raised(NamedTuple):
    """What a program sees of an error."""

    type: str
    status: int
    code: str


class Errors(NamedTuple):
    """What is raised for a key, a model, a rate and a budget."""

    wrong_key: Raised
    wrong_model: Raised
    rate_reached: Raised
    budget_spent: Raised


OPENAI = Errors(
    Raised("AuthenticationError", 401, "invalid_api_key"),
    Raised("NotFoundError", 404, "not_found"),
    Raised("RateLimitError", 429, "rate_limit_exceeded"),
    Raised("RateLimitError", 429, "insufficient_quota"),
)
ANTHROPIC = Errors(
    Raised("AuthenticationError", 401, "authentication_error"),
    Raised("NotFoundError", 404, "not_found_error"),
    Raised("RateLimitError", 429, "rate_limit_error"),
    Raised("PaymentRequiredError", 402, "billing_error"),
)


def of_types(errors: Errors, *types: str) -> Errors:
    """The same, where a package has classes of its own for them."""
    return Errors(*(each._replace(type=name) for each, name in zip(errors, types, strict=True)))


LANGCHAIN_OPENAI = of_types(
    OPENAI, "OpenAIAuthenticationError", "OpenAIModelNotFoundError", "OpenAIRateLimitError", "OpenAIRateLimitError"
)
LANGCHAIN_ANTHROPIC = of_types(
    ANTHROPIC,
    *("AnthropicAuthenticationError", "AnthropicModelNotFoundError", "AnthropicRateLimitError", "PaymentRequiredError"),
)
INSTRUCTOR = of_types(OPENAI, *4 * ["InstructorRetryException"])
AI_SDK = of_types(OPENAI, *4 * ["AI_APICallError"])


class Client(NamedTuple):
    """One package's way in."""

    name: str
    program: str
    errors: Errors
    door: str = ""
    packages: str = ""  # a lock file in python/requirements; else it runs with ours


CLIENTS = (
    Client("openai-python-chat", "openai_chats.py", OPENAI),
    Client("openai-python-responses", "openai_responses.py", OPENAI),
    Client("openai-node-chat", "openai_chats.mjs", OPENAI),
    Client("openai-node-responses", "openai_responses.mjs", OPENAI),
    Client("anthropic-python", "anthropic_messages.py", ANTHROPIC),
    Client("anthropic-node", "anthropic_messages.mjs", ANTHROPIC),
    Client("langchain-openai-chat", "langchain_models.py", LANGCHAIN_OPENAI, "chat", "langchain.txt"),
    Client("langchain-openai-responses", "langchain_models.py", LANGCHAIN_OPENAI, "responses", "langchain.txt"),
    Client("langchain-anthropic", "langchain_models.py", LANGCHAIN_ANTHROPIC, "messages", "langchain.txt"),
    Client("llamaindex", "llamaindex_agent.py", OPENAI, packages="llamaindex.txt"),
    Client("ai-sdk-openai-compatible", "ai_sdk.mjs", AI_SDK, "chat"),
    Client("ai-sdk-openai", "ai_sdk.mjs", AI_SDK, "responses"),
    Client("ai-sdk-openai-kept", "ai_sdk.mjs", AI_SDK, "kept_responses"),
    Client("agents-sdk-responses", "agents_sdk.py", OPENAI, "responses", "agents.txt"),
    Client("agents-sdk-chat", "agents_sdk.py", OPENAI, "chat", "agents.txt"),
)
AI_SDK_BY_DEFAULT = Client("ai-sdk-openai-by-default", "ai_sdk.mjs", AI_SDK, "unsaid_responses")
"""It takes for granted that what it is answered is kept, and later refers to the texts and thoughts in it."""

FORMS = (
    Client("instructor-tools", "instructor_forms.py", INSTRUCTOR, "tools", "instructor.txt"),
    Client("instructor-schema", "instructor_forms.py", INSTRUCTOR, "schema", "instructor.txt"),
)
