"""Below which path errors have which shape, also where nothing is served."""

from chalicelib.http.problems import Shape
from chalicelib.http.routing import Prefixes

SHAPES: Prefixes[Shape] = Prefixes("problem")
SHAPES.add("/tenants/{tenant}/v1", "openai")
SHAPES.add("/tenants/{tenant}/v1/messages", "anthropic")
SHAPES.add("/tenants/{tenant}/v1/bedrock/model", "bedrock")
SHAPES.add("/v1/bedrock/model", "bedrock")
